// A one-time code becomes a session; for as long as that lasts, the fleet is shown in numbers.
// Addresses are relative, so that a proxy may serve us below a path. Texts become text, never markup.

const SESSION = "api/v1/session";
const FLEET = "api/v1/fleet";
const EVENTS = "api/v1/events?types=fleet";

const DEADLINE_MS = 10_000;
const LOOK_EVERY_MS = 15_000; // a connection that died in silence tells no event: so much later the numbers turn grey
const AGAIN_MS = 3_000; // once there was no answer

const at = (id) => document.getElementById(id);
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const number = new Intl.NumberFormat();

let session = null;
let stream = null;
let next = null; // timer of the next look
let asked = 0; // questions for the fleet: only the newest one's answer counts
let busy = false;

// -- asking

class Refused extends Error {
  constructor(status, text) {
    super(text[0].toUpperCase() + text.slice(1));
    this.status = status; // 0 = no answer
  }
}

// Leave `mode` alone: with our no-referrer policy any other than the default "cors" sends `Origin: null`.
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(DEADLINE_MS), ...options });
  } catch {
    throw new Refused(0, "Muster does not answer. See whether it runs, and whether this machine is connected.");
  }
  const document = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) {
    throw new Refused(response.status, document?.detail ?? `Muster answered ${response.status} ${response.statusText}.`);
  }
  return document;
}

const logIn = (code) =>
  ask(SESSION, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code }),
  });

// -- the code

const codeIn = (fragment) => new URLSearchParams(fragment.replace(/^[^#]*#/, "")).get("code");

// The address bar and the history forget it at once, before anything else can go wrong.
function takeCode() {
  const code = codeIn(location.hash);
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

// -- what is shown

function say(where, text = "") {
  const parts = text.split("`"); // commands stand between them
  at(where).replaceChildren(
    ...parts.map((part, i) => (i % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part)),
  );
}

function show(section) {
  for (const id of ["unscripted", "login", "inside"]) at(id).hidden = id !== section;
}

function time(id, format, date) {
  at(id).dateTime = date.toISOString();
  at(id).textContent = format.format(date);
}

function showForm(problem = "", code = "") {
  show("login");
  say("status");
  say("problem", problem);
  const input = at("code");
  input.value = code;
  input.ariaInvalid = null;
  input.focus();
}

function showFleet(fleet) {
  const counts = Object.entries(fleet.counts);
  at("total").textContent = fleet.total === 1 ? "1 cluster" : `${number.format(fleet.total)} clusters`;
  at("bar").replaceChildren(
    ...counts.filter(([, count]) => count).map(([health, count]) => {
      const part = document.createElement("span");
      part.dataset.health = health;
      part.style.flexGrow = count;
      return part;
    }),
  );
  at("counts").replaceChildren(
    ...counts.map(([health, count]) => {
      const item = document.createElement("li");
      item.dataset.health = health;
      item.classList.toggle("none", !count);
      item.append(Object.assign(document.createElement("strong"), { textContent: number.format(count) }), ` ${health}`);
      return item;
    }),
  );
  time("as-of", clock, new Date());
  at("version").textContent = fleet.version;
  at("fleet").hidden = false;
  at("fleet").classList.remove("stale");
}

// -- logged in, and out again

function enter(found) {
  session = found;
  at("name").textContent = session.name;
  at("role").textContent = session.role;
  time("until", moment, new Date(session.expires_at));
  at("fleet").hidden = true;
  for (const said of ["status", "problem", "away"]) say(said);
  show("inside");
  watch();
}

function leave(status, problem) {
  session = null;
  unwatch();
  showForm(problem);
  say("status", status);
}

async function exchange(code) {
  if (busy) return;
  busy = true;
  at("submit").ariaDisabled = "true";
  say("problem");
  say("status", "Logging in …");
  try {
    enter(await logIn(code));
    at("inside").querySelector("h1").focus();
  } catch (error) {
    const earlier = session ?? (await ask(SESSION).catch(() => null));
    const wrong = error.status === 401; // anything else may be tried again
    if (earlier) enter(earlier);
    else showForm("", wrong ? "" : code);
    at("code").ariaInvalid = String(wrong);
    say("problem", error.message);
  } finally {
    busy = false;
    at("submit").ariaDisabled = null;
  }
}

async function logOut() {
  try {
    await ask(SESSION, { method: "DELETE", headers: { "X-Muster-CSRF": session.csrf } });
  } catch (error) {
    if (error.status !== 401) return say("problem", `You are still logged in. ${error.message}`);
  }
  leave("Logged out.");
}

// -- the fleet, for as long as somebody looks

async function look() {
  const mine = ++asked;
  const fleet = await ask(FLEET).catch((error) => error);
  if (mine !== asked) return;
  if (fleet.status === 401) return leave("", "The session has ended. Log in again.");
  const known = !(fleet instanceof Refused);
  if (known) {
    showFleet(fleet);
    say("away");
  } else {
    at("fleet").classList.add("stale");
    if (at("away").textContent === "") say("away", fleet.message); // told once
  }
  clearTimeout(next);
  next = setTimeout(lookAgain, known ? LOOK_EVERY_MS : AGAIN_MS);
}

function lookAgain() {
  if (stream.readyState === EventSource.CLOSED) listen(); // it was refused; one that broke connects by itself
  look();
}

function watch() {
  unwatch();
  listen();
  look();
}

function unwatch() {
  clearTimeout(next);
  stream?.close();
  asked += 1; // an answer that is under way comes too late
}

function listen() {
  stream = new EventSource(EVENTS);
  for (const event of ["hello", "fleet", "error"]) stream.addEventListener(event, look);
}

// -- what people do

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = at("code").value.trim();
  exchange(codeIn(given) ?? given);
});

at("logout").addEventListener("click", logOut);

// A link that is pasted over an open page changes the fragment only.
addEventListener("hashchange", () => {
  const code = takeCode();
  if (code) exchange(code);
});

// A browser has six connections to a host: tabs that nobody looks at leave theirs to the others.
document.addEventListener("visibilitychange", () => {
  if (session && document.hidden) unwatch();
  else if (session) watch();
});

// -- the beginning

const code = takeCode();
show("");
if (!["127.0.0.1:8645", "localhost:8645"].includes(location.host)) {
  at("command").textContent += ` --server ${location.origin}${location.pathname.replace(/\/login$/, "")}`;
}
if (!/^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname)) {
  at("where").textContent = "Where you have an admin's token";
  at("command").textContent += " --token-file FILE";
}
if (code) exchange(code);
else ask(SESSION).then(enter, (error) => showForm(error.status === 401 ? "" : error.message));
