use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn errand() -> impl Strategy<Value = Errand> {
    let steps = [Step::PreScript, Step::PostScript, Step::VssBackup];
    let slot = (0_i64..4_000_000_000).prop_map(|s| Slot::new(Timestamp::from_second(s).unwrap()));
    ("[A-Za-z0-9 _.-]{1,64}", slot, 1_u8..=9, proptest::sample::select(steps.to_vec()))
        .prop_map(|(policy, slot, attempt, step)| Errand { policy, slot, attempt, step })
}

fn instance(n: u32) -> InstanceId {
    format!("i-{n:017x}").parse().unwrap()
}

proptest! {
    #[test]
    fn an_errand_survives_its_comment(errand in errand()) {
        let comment = errand.comment();
        prop_assert!(comment.len() <= 100, "{comment}");
        prop_assert_eq!(Errand::read(&comment), Some(errand));
    }

    #[test]
    fn no_comment_makes_it_panic(comment in ".{0,100}", after in "[ -~]{0,60}") {
        let _ = Errand::read(&comment);
        let _ = Errand::read(&format!("snapferry {after}"));
    }

    #[test]
    fn both_scripts_of_an_attempt_have_one_execution_id_and_nothing_else_has_it(
        a in errand(), b in errand(), n in 0_u32..3, m in 0_u32..3,
    ) {
        let id = a.execution_id(&instance(n), "doc");
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        prop_assert_eq!(groups, [8, 4, 4, 4, 12]);
        prop_assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
        for step in [Step::PreScript, Step::PostScript] {
            let same = Errand { step, ..a.clone() };
            prop_assert_eq!(&same.execution_id(&instance(n), "doc"), &id);
        }
        prop_assert_ne!(&a.execution_id(&instance(n), "other"), &id);
        let is_same = (&a.policy, a.slot, a.attempt, n) == (&b.policy, b.slot, b.attempt, m);
        prop_assert_eq!(b.execution_id(&instance(m), "doc") == id, is_same);
    }
}

#[test]
fn only_our_comments_are_ours() {
    let slot = "2026-11-22T02:00:00Z";
    let read = |comment: &str| Errand::read(comment);
    assert_eq!(read(&format!("snapferry pre2 {slot} daily")).unwrap().attempt, 2);
    for comment in [
        String::new(),
        format!("snapferry pre {slot} daily"),
        format!("snapferry pre0 {slot} daily"),
        format!("snapferry pre10 {slot} daily"),
        format!("snapferry thaw1 {slot} daily"),
        format!("snapferry end1 {slot} "),
        format!("snapferry end1 {slot}"),
        "snapferry end1 yesterday daily".to_owned(),
        format!("Snapferry vss1 {slot} daily"),
        format!("a snapferry vss1 {slot} daily"),
    ] {
        assert_eq!(read(&comment), None, "{comment}");
    }
}

#[test]
fn a_late_pre_script_does_not_come_and_a_late_post_script_does() {
    let slot = "2026-11-22T02:00:00Z".parse().unwrap();
    let errand = |step| Errand { policy: "daily".into(), slot, attempt: 1, step };
    let pre = SendCommand::script(&instance(1), "doc", errand(Step::PreScript));
    let post = SendCommand::script(&instance(1), "doc", errand(Step::PostScript));
    assert_eq!((pre.delivery_seconds, post.delivery_seconds), (30, 600));
    assert_eq!(pre.parameters["command"], "pre-script");
    assert_eq!(post.parameters["command"], "post-script");
    assert_eq!(pre.parameters["executionId"], post.parameters["executionId"]);
}
