//! Known bugs, put into a copy of the sources: the suites have to notice every one.

mod tools;

/// One after the other: both build.
#[test]
fn every_bug_is_noticed() {
    assert!(tools::run("seeded_bugs", &[]), "see above for those that were not");
    assert!(tools::run("seeded_bugs", &["--units"]), "see above for those that were not");
}
