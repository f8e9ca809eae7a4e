"""The tests; a package only so that `tests.support` can be imported wherever pytest is started."""
