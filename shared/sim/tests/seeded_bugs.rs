//! Known bugs, put into a copy of the sources: the suites have to notice every one.

mod tools;

#[test]
fn every_bug_is_noticed() {
    assert!(tools::run("seeded_bugs", &[]), "see above for those that were not");
}

#[test]
fn the_bugs_of_the_adapter_can_still_be_put_in() {
    assert!(tools::run("seeded_bugs", &["--check"]), "a bug's text is not in its file any more");
}
