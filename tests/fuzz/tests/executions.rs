//! Every target, with a fixed number of inputs: `cargo test -p snapferry-fuzz -- --nocapture` shows how many were taken.

use snapferry_fuzz::{TARGETS, run};

#[test]
fn no_input_breaks_a_rule() {
    for target in TARGETS {
        let tally = run::run(&target, target.executions, 0).unwrap_or_else(|it| panic!("{it}"));
        println!("{}", run::line(&target, tally));
        assert!(tally.accepted > 0 && tally.refused > 0, "{}: {tally:?}", target.name);
    }
}
