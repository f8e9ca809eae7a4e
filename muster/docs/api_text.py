"""What the page of the API says before its tables. A test runs the blocks of commands that are marked `sh run`."""

HEAD = """\
# The API

<!-- Written by `make docs` from the route table and the schemas in muster/api/, and from muster/docs/api_text.py. -->

JSON over HTTP, below `/api/v1`, from `muster run` itself. Whatever `muster` commands show comes from here. The same is
in `/openapi.json` (OpenAPI 3.1) for programs.

- Moments are RFC 3339 in UTC; lengths of time are numbers of seconds, in members that end in `_s`.
- Within `/api/v1` members are added, and never renamed or taken away. Readers ignore members that they do not know.
- Healths, reasons, stages and checks are open lists: a later release may have more of them.
- Only the instance that leads has a picture. A standby answers [not-leading](problems.md#not-leading).
- A parameter that is not known is an error, with the one that was probably meant.

## Who asks

By a token, in the header `Authorization: Bearer muster_…` and nowhere else: a token in an address is refused.

```sh run
umask 077
muster token create my-script --role operator --expires 30d --save my-script.token
printf 'Authorization: Bearer %s\\n' "$(cat my-script.token)" > my-script.header
curl -sS -H @my-script.header http://127.0.0.1:8645/api/v1/session
```

Curl takes the header from a file, so that `ps` does not show the token. Muster itself keeps only a hash of it.

| Role | May |
|---|---|
| viewer | read all about the fleet, its history and metrics |
| operator | also validate, pause and resume clusters; make, assign and delete backup locations |
| admin | also make tokens and login links, read the audit log, set the log level |

Who runs the service has an admin's token without making one: `muster run` leaves it in a file that only its own user
can read, new at each start, and commands on the same machine use it. Paths whose role is *none* need no token.

A browser has a session instead: the link of `muster login` leads to a page that gives its code to
`POST /api/v1/session` and gets a cookie. What changes something needs the header `X-Muster-CSRF` as well, with the
`csrf` of `GET /api/v1/session`; with a token it does not.

Whatever is changed, and whatever was refused, is in the audit log.

## Pages

A list has `next`; null means that it was the last page. Clusters go on with `after=NEXT` and the same other parameters:
a cluster that changes its health meanwhile may be met twice or not at all, all others once. History goes on with
`before=NEXT`.

```sh run
curl -sS -H @my-script.header 'http://127.0.0.1:8645/api/v1/clusters?health=unhealthy,unreachable&sort=name&limit=10'
curl -sS -H @my-script.header 'http://127.0.0.1:8645/api/v1/transitions?limit=10'
```

Parameters that take a list take it with commas or repeated. Case does not matter in healths, reasons and checks.

## What has not changed

`/api/v1/fleet` has an `ETag`: the generation of the picture. It changes when any cluster means something else, also
when a fact outlives its allowance, so that an old green picture is never confirmed. Ages grow without it.

```sh run
etag=$(curl -sS -H @my-script.header -o fleet.json -w '%header{etag}' http://127.0.0.1:8645/api/v1/fleet)
curl -sS -H @my-script.header -H "If-None-Match: $etag" -w '%{http_code}\\n' http://127.0.0.1:8645/api/v1/fleet
```

The second answer is 304, without a body, or 200 with a new picture.

## Sent twice, done once

A `POST` that takes an `Idempotency-Key` is done once however often it comes. Send a key of your own, such as a UUID;
whoever sends the same request with the same key within a day gets the first answer again, with the header
`Idempotency-Replayed: true`. The same key with another request is a
[conflict](problems.md#idempotency-conflict). A request that was refused has done nothing, and is tried anew.

```sh run
key="Idempotency-Key: change-4711-dune-westeurope-01"
url=http://127.0.0.1:8645/api/v1/clusters/dune-westeurope-01
echo '{"reason": "new disks, CHG-4711"}' > pause.json
curl -sS -H @my-script.header -H "$key" --json @pause.json $url/pause
curl -sS -H @my-script.header -H "$key" --json @pause.json -o two.json -w '%header{idempotency-replayed}\\n' $url/pause
```

## Two who change one thing

`If-Match` says on which state a change is based. Pauses and backup locations have an `etag`; what names one that is no
more is refused with [precondition-failed](problems.md#precondition-failed), and the answer has what there is now.

```sh run
echo '{"reason": "takes longer, CHG-4711"}' > longer.json
curl -sS -H @my-script.header -H 'If-Match: "p0-1"' --json @longer.json $url/pause
curl -sS -H @my-script.header -H 'If-Match: *' --json @longer.json -o paused.json -w '%header{etag}\\n' $url/pause
curl -sS -H @my-script.header -X POST -o judged.json -w '%{http_code}\\n' $url/resume
```

## What happens, as it happens

`GET /api/v1/events` is a stream of server-sent events, as browsers' `EventSource` and `curl -N` read it.

```sh run
curl -sSN -H @my-script.header http://127.0.0.1:8645/api/v1/events    # Ctrl-C ends it
```

| Event | Data | When |
|---|---|---|
| `hello` | [Hello](#hello) | first, once |
| `transition` | [Transition](#transition) | a change of health is committed |
| `fleet` | [FleetChanged](#fleetchanged) | the picture means something else; at most once a second |
| `validation` | [ValidationStep](#validationstep) | a validation job of a backup location has gone on |
| `dropped` | [Dropped](#dropped) | last: you did not read for 10 s, or fell too far behind |
| `bye` | [Bye](#bye) | last: the service stops, leads no more, or your token has ended |

Whoever was cut off goes on with the last `id`, in the header `Last-Event-ID` or as `after=ID`: `hello` says `resumed:
true`, and every transition since then follows, each once, in the order of their ids. Where too much has happened
(10,000 changes) it says `resumed: false`: read the fleet anew and go on from there. A comment comes every 15 s, so that
a silent connection can be told from a dead one.

`muster events --follow -o json` does all this, and has one object a line.

## Errors

Every error is a [problem document](problems.md) with a stable `type`. Those that need not be said at each path:
"""
