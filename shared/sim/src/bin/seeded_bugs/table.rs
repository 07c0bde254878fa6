//! The bugs.

/// What has to notice a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// `cargo sim`.
    Years,
    /// `shared/sim/tests/reconcile`: the tests whose names contain this.
    Reconcile(&'static str),
    /// The unit tests of all crates, those of the adapter among them.
    Units,
}

/// A bug, put into a copy of a file.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    pub(crate) suite: Suite,
    /// Which mistake of section 4.8 of our list of rivals' mistakes it is; 0: none of them.
    pub(crate) mistake: u8,
    pub(crate) file: &'static str,
    /// Stands in the file exactly once.
    pub(crate) find: &'static str,
    /// What stands there instead. `$ON`: whether the bug is switched on; `$IT`: what stood there.
    pub(crate) with: &'static str,
}

const fn bug(
    suite: Suite,
    mistake: u8,
    name: &'static str,
    file: &'static str,
    find: &'static str,
    with: &'static str,
) -> Bug {
    Bug { name, suite, mistake, file, find, with }
}

use Suite::{Reconcile, Units, Years};

const RETAIN: &str = "shared/core/src/plan/retain.rs";
const CREATE: &str = "shared/core/src/plan/create.rs";
const COPY: &str = "shared/core/src/plan/copy.rs";
const EXPIRE: &str = "shared/core/src/plan/copy/expire.rs";
const VIEW: &str = "shared/core/src/plan/view.rs";
const PLAN: &str = "shared/core/src/plan.rs";
const EXECUTE: &str = "shared/core/src/execute.rs";
const SCRIPTS: &str = "shared/core/src/execute/scripts.rs";

/// The auditor lets everything pass: bugs that delete too much are tried with and without it, so that both the auditor
/// and the judge have to notice them.
pub(crate) const AUDIT_OFF: Bug = bug(
    Years,
    0,
    "audit-off",
    "shared/core/src/audit.rs",
    "        let refused: BTreeSet<&Scope> = self.violations",
    "        if $ON { return (AuditedPlan { plan, withheld: Vec::new() }, Vec::new()); }\n$IT",
);

/// Every bug that is tried by itself.
pub(crate) const BUGS: &[Bug] = &[
    bug(
        Years,
        1,
        "tags after create",
        EXECUTE,
        "        Action::CreateSnapshot(request) => ec2.create_snapshot(request)",
        "        Action::CreateSnapshot(request) if $ON => {
            let bare = crate::ec2::CreateSnapshot { tags: Tags::new(), ..request.clone() };
            let made = ec2.create_snapshot(&bare).await?;
            ec2.create_tags(std::slice::from_ref(&made), &request.tags).await?;
            Ok(Outcome::Done(vec![made]))
        }
$IT",
    ),
    bug(
        Years,
        2,
        "no look-up before creating",
        CREATE,
        "schedules.filter(|it| !world.served.contains(",
        "schedules.filter(|it| $ON || !world.served.contains(",
    ),
    bug(
        Years,
        2,
        "no look-up before copying",
        COPY,
        "if let Some(copy) = by_age(good.copied()).first() {",
        "if let Some(copy) = by_age(good.copied()).first().filter(|_| !$ON) {",
    ),
    bug(
        Years,
        3,
        "pending counts as good",
        VIEW,
        "let completed = draft.own.iter().filter(|own| own.snapshot.state == State::Completed);",
        "let completed = draft.own.iter().filter(|own| own.snapshot.state == State::Completed \
         || ($ON && own.snapshot.state == State::Pending));",
    ),
    bug(
        Reconcile("fail"),
        3,
        "failed counts as good",
        CREATE,
        "let failed = set.iter().filter(|own| own.snapshot.state == State::Error);",
        "let failed = set.iter().filter(|own| !$ON && own.snapshot.state == State::Error);",
    ),
    bug(
        Years,
        3,
        "a pending copy counts as good",
        EXPIRE,
        "copies.iter().filter(|copy| copy.snapshot.state == State::Completed).collect();",
        "copies.iter().filter(|copy| copy.snapshot.state == State::Completed \
         || ($ON && copy.snapshot.state == State::Pending)).collect();",
    ),
    bug(
        Years,
        4,
        "the last good one goes",
        RETAIN,
        "&& at_most(rule.minimum_count) {",
        "&& !$ON && at_most(rule.minimum_count) {",
    ),
    bug(
        Years,
        4,
        "the last good copy goes",
        EXPIRE,
        "Verdict::Delete(reason, is_last || index == 0)",
        "Verdict::Delete(reason, !$ON && (is_last || index == 0))",
    ),
    bug(
        Years,
        5,
        "a part of our tags is enough",
        "shared/core/src/tags.rs",
        "        let slot = tags.get(SLOT)?.parse().ok()?;\n        complete",
        "        let slot = match tags.get(SLOT) {
            None if $ON => Slot::new(jiff::Timestamp::UNIX_EPOCH),
            found => found?.parse().ok()?,
        };
        complete",
    ),
    bug(
        Years,
        6,
        "mirrored deletes",
        EXPIRE,
        "        let expires_at = tags::expires_at(&copy.snapshot.tags);",
        "        let is_there = |it: &Snapshot| it.id == copy.claim.source_snapshot;
        if $ON && !self.request.inventory.sources.values().flatten().any(is_there) {
            return Verdict::Delete(Reason::ExpiresAt(self.request.now), false);
        }
$IT",
    ),
    bug(
        Reconcile("vault::a_copy_that_keeps_failing"),
        7,
        "a failed copy is done",
        COPY,
        "existing.iter().filter(|copy| copy.state != State::Error);",
        "existing.iter().filter(|copy| $ON || copy.state != State::Error);",
    ),
    bug(
        Years,
        7,
        "failed copies are forgotten",
        COPY,
        "    draft.failed_copies();",
        "    if !$ON { draft.failed_copies(); }",
    ),
    bug(
        Years,
        8,
        "nothing behind the events",
        COPY,
        "        draft.source(region, source, &worth);",
        "        if !($ON && request.inventory.whole) { draft.source(region, source, &worth); }",
    ),
    bug(
        Reconcile("pending_copies_of_both_share_the_limit"),
        9,
        "the 20 places are not counted",
        COPY,
        "CONCURRENT_COPIES.saturating_sub(in_progress));",
        "CONCURRENT_COPIES.saturating_sub(if $ON { 0 } else { in_progress }));",
    ),
    bug(
        Reconcile("twice_at_once_leaves_one_whole_set"),
        9,
        "a limit is a failure",
        "shared/core/src/ec2.rs",
        "matches!(self, Self::Throttled | Self::QuotaExceeded | Self::NotReady)",
        "matches!(self, Self::Throttled | Self::QuotaExceeded | Self::NotReady) \
         && !($ON && self == Self::QuotaExceeded)",
    ),
    bug(
        Reconcile("a_hostile_description_decides_nothing"),
        10,
        "a description outranks EC2",
        "shared/core/src/inventory.rs",
        "        if !self.volume_id.is_placeholder() {",
        "        if !$ON && !self.volume_id.is_placeholder() {",
    ),
    bug(
        Years,
        11,
        "one error ends the run",
        "shared/core/src/reconcile/rotate.rs",
        "            Err(error) => not_read(&unit, error),",
        "            Err(error) if $ON => panic!(\"{error}\"),\n$IT",
    ),
    bug(
        Years,
        12,
        "waits for completion",
        EXECUTE,
        "    let done = perform(ec2, &planned.action).await;",
        "    if $ON && planned.action.operation() == \"CreateSnapshot\" {
        (limits.pause)(SignedDuration::from_mins(20)).await;
    }
$IT",
    ),
    bug(
        Years,
        0,
        "count short by one",
        RETAIN,
        "            Some(count) if at_most(count) => keepings",
        "            Some(count) if at_most(count - u32::from($ON)) => keepings",
    ),
    bug(
        Years,
        0,
        "count long by one",
        RETAIN,
        "        let at_most = |n: u32| rank <= usize::try_from(n).unwrap_or(usize::MAX);",
        "        let at_most = |n: u32| rank <= usize::try_from(n).unwrap_or(usize::MAX)\
         .saturating_add(usize::from($ON));",
    ),
    bug(
        Years,
        0,
        "count of copies short by one",
        EXPIRE,
        "            Some(count) if at_most(rank, count) => {",
        "            Some(count) if at_most(rank, count - u32::from($ON)) => {",
    ),
    bug(
        Years,
        0,
        "age of copies by other volumes",
        EXPIRE,
        "                let key = (&claim.source_account, claim.lineage());",
        "                let one = || \"vol-ffffffff\".parse().map_or(claim.lineage(), Lineage::Volume);
                let key = (&claim.source_account, if $ON { one() } else { claim.lineage() });",
    ),
    bug(
        Years,
        0,
        "age from the slot",
        RETAIN,
        "        match rule.age.map(|age| age.after(own.snapshot.start_time)) {",
        "        match rule.age.map(|age| age.after(if $ON { own.claim.slot.timestamp() } else { own.snapshot.start_time })) {",
    ),
    bug(
        Years,
        0,
        "a copy's age from its source",
        "shared/core/src/plan/copy/request.rs",
        "rule.retain.as_ref()?.age?.after(now)));",
        "rule.retain.as_ref()?.age?.after(if $ON { source.start_time } else { now })));",
    ),
    bug(
        Years,
        0,
        "no expiry tag",
        CREATE,
        "            tags.insert(tags::EXPIRES_AT.into(), tags::instant(expires_at));",
        "            if !$ON { tags.insert(tags::EXPIRES_AT.into(), tags::instant(expires_at)); }",
    ),
    bug(
        Years,
        0,
        "the slot is now",
        CREATE,
        "        let slot = schedule.create.due(draft.request.at);",
        "        let slot = schedule.create.due(draft.request.at)\
         .map(|slot| if $ON { Slot::new(draft.request.at) } else { slot });",
    ),
    bug(
        Years,
        0,
        "creations are sent again",
        EXECUTE,
        "        Action::CopySnapshot(request) => ec2.copy_snapshot(request)",
        "        Action::CopySnapshot(request) if $ON => {
            let done = match ec2.copy_snapshot(request).await {
                Err(Ec2Error::NoAnswer { .. }) => ec2.copy_snapshot(request).await,
                done => done,
            };
            done.map(|id| Outcome::Done(vec![id]))
        }
$IT",
    ),
    bug(
        Reconcile("what_got_no_answer"),
        0,
        "no answer, and sent again next round",
        "shared/core/src/reconcile/places.rs",
        "            Outcome::Failed(_) => {\n                inventory",
        "            Outcome::Failed(_) if $ON => {}\n$IT",
    ),
    bug(
        Reconcile("a_set_without_an_answer"),
        0,
        "nobody looks after creating",
        "shared/core/src/reconcile.rs",
        "                if (limits.out_of_time)() { Vec::new() }",
        "                if $ON || (limits.out_of_time)() { Vec::new() }",
    ),
    bug(
        Years,
        0,
        "the younger of two stays",
        PLAN,
        "        if let Some((keeper, younger)) = by_age(group.into_iter()).split_first() {",
        "        let aged = by_age(group.into_iter());
        if let Some((keeper, younger)) = if $ON { aged.split_last() } else { aged.split_first() } {",
    ),
    bug(
        Units,
        0,
        "both of two go",
        EXPIRE,
        "                    keepers.insert(*older);",
        "                    if !$ON { keepers.insert(*older); }",
    ),
    bug(
        Years,
        0,
        "a disabled policy deletes",
        RETAIN,
        "            Some((policy, _)) if !policy.enabled => Verdict::Keep",
        "            Some((policy, _)) if !$ON && !policy.enabled => Verdict::Keep",
    ),
    bug(
        Years,
        0,
        "locks are not looked at",
        PLAN,
        "guards.locked.contains(&snapshot.id).then_some(Hold::Locked)",
        "(!$ON && guards.locked.contains(&snapshot.id)).then_some(Hold::Locked)",
    ),
    bug(
        Years,
        0,
        "sharing never ends",
        "shared/core/src/plan/sharing.rs",
        "over.filter(|at| *at <= draft.request.now).map(Ended::At);",
        "over.filter(|at| !$ON && *at <= draft.request.now).map(Ended::At);",
    ),
    bug(
        Years,
        0,
        "what nobody speaks for goes",
        RETAIN,
        "            None => Verdict::Hold(otherwise),",
        "            None if $ON => Verdict::Delete(reason(self.draft.request.now)),\n$IT",
    ),
    bug(
        Years,
        0,
        "what is not listed goes by the rules",
        RETAIN,
        "                Verdict::Delete(_) if target.is_none() && !self.is_expired(own) => {",
        "                Verdict::Delete(_) if !$ON && target.is_none() && !self.is_expired(own) => {",
    ),
    bug(
        Years,
        0,
        "a longer age is not for old copies",
        EXPIRE,
        "Verdict::Delete(..) if self.worth_anew.contains(&copy.snapshot.id) => {",
        "Verdict::Delete(..) if !$ON && self.worth_anew.contains(&copy.snapshot.id) => {",
    ),
    bug(
        Years,
        0,
        "what retention lets go is copied",
        COPY,
        "        if let Some(why) = worth.not_worth(&claim, source, rules, self.request.now) {",
        "        if let Some(why) = worth.not_worth(&claim, source, rules, self.request.now).filter(|_| !$ON) {",
    ),
    bug(
        Reconcile("vault::a_copy_that_keeps_failing"),
        0,
        "failing copies are tried in a circle",
        "shared/core/src/plan/copy/failed.rs",
        "failed.last().filter(|_| failed.len() >= REMEMBERED)?;",
        "failed.last().filter(|_| !$ON && failed.len() >= REMEMBERED)?;",
    ),
    bug(
        Years,
        0,
        "every moment is a period",
        "shared/core/src/plan/keep.rs",
        "            if last.as_ref() != Some(&name) {",
        "            if $ON || last.as_ref() != Some(&name) {",
    ),
    bug(
        Years,
        0,
        "locks are not set",
        "shared/core/src/plan/lock.rs",
        "    let is_due = lock.until > now;",
        "    let is_due = !$ON && lock.until > now;",
    ),
    bug(
        Years,
        0,
        "order by id alone",
        PLAN,
        "    snapshots.sort_by_key(|snapshot| (snapshot.start_time, &snapshot.id));",
        "    snapshots.sort_by_key(|snapshot| (if $ON { jiff::Timestamp::MIN } else { snapshot.start_time }, &snapshot.id));",
    ),
    bug(
        Reconcile("broken_sets"),
        0,
        "what is left of a set passes for one",
        VIEW,
        "    volumes.len() < told.unwrap_or(0)",
        "    !$ON && volumes.len() < told.unwrap_or(0)",
    ),
    bug(
        Reconcile("anything_while_its_guards"),
        0,
        "guards that cannot be read are none",
        "shared/core/src/observe.rs",
        "async fn guards<E: Ec2>(ec2: &E, needed: bool) -> Result<Guards, String> {",
        "async fn guards<E: Ec2>(ec2: &E, needed: bool) -> Result<Guards, String> {
    if $ON { return Ok(read_guards(ec2, needed).await.unwrap_or_default()); }
    read_guards(ec2, needed).await
}

async fn read_guards<E: Ec2>(ec2: &E, needed: bool) -> Result<Guards, String> {",
    ),
    bug(
        Units,
        0,
        "only the first page is read",
        "shared/aws/src/ec2/reading.rs",
        "            while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await? {
                pages.turn(OPERATION, page.next_token())?;
                for mut snapshot in",
        "            let mut first = true;
            while let Some(page) = self.deadline.answer(OPERATION, read.try_next()).await?.filter(|_| !$ON || first) {
                first = false;
                pages.turn(OPERATION, page.next_token())?;
                for mut snapshot in",
    ),
    bug(
        Units,
        0,
        "creations are sent again after a time-out",
        "shared/aws/src/only_refused.rs",
        "            _ => RetryAction::RetryForbidden,",
        "            _ if $ON => RetryAction::transient_error(),\n$IT",
    ),
    bug(
        Units,
        1,
        "CreateSnapshot without tags",
        "shared/aws/src/ec2/creating.rs",
        "            .volume_id(request.volume.as_str())
            .description(&request.description)
            .tag_specifications(convert::tag_specification(&request.tags))",
        "            .volume_id(request.volume.as_str())
            .description(&request.description)
            .set_tag_specifications((!$ON).then(|| vec![convert::tag_specification(&request.tags)]))",
    ),
    bug(
        Units,
        5,
        "everybody's snapshots",
        "shared/aws/src/ec2/reading.rs",
        "Self { owners: vec![\"self\".to_owned()], restorable_by: None, calls };",
        "Self { owners: if $ON { Vec::new() } else { vec![\"self\".to_owned()] }, restorable_by: None, calls };",
    ),
    bug(
        Units,
        9,
        "a limit is an error like any other",
        "shared/aws/src/classify.rs",
        "        \"ResourceLimitExceeded\"\n",
        "        \"ResourceLimitExceeded\" if $ON => ErrorKind::Invalid,\n$IT",
    ),
    bug(
        Units,
        0,
        "deleting what is gone fails",
        "shared/aws/src/ec2/changing.rs",
        "            Err(err) if err.kind() == ErrorKind::NotFound => Ok(()), // already gone",
        "            Err(err) if !$ON && err.kind() == ErrorKind::NotFound => Ok(()), // already gone",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "no post-script after a creation that failed",
        SCRIPTS,
        "        if self.stages.has_post() {
            let (line, ending) = self.post_script(attempt, Pre::Succeeded).await;",
        "        if self.stages.has_post() && !($ON && made.is_empty()) {
            let (line, ending) = self.post_script(attempt, Pre::Succeeded).await;",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "no post-script after a pre-script that failed",
        SCRIPTS,
        "                    if ends_it && self",
        "                    if !$ON && ends_it && self",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "no post-script is missing whose pre-script is forgotten",
        "shared/core/src/plan/scripts.rs",
        "        let is_done = last.progress.lets_go_on();",
        "        let is_done = $ON || last.progress.lets_go_on();",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "what stands still already is let go on at once",
        SCRIPTS,
        "                    Some(Status::Failed) if code == Some(STOOD_STILL)",
        "                    Some(Status::Failed) if !$ON && code == Some(STOOD_STILL)",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "scripts are begun with no time left",
        SCRIPTS,
        "            if left < needed {",
        "            if !$ON && left < needed {",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "scripts of a run that is alive are ended",
        "shared/core/src/plan/scripts.rs",
        "    command.errand.step == Step::PreScript && now",
        "    !$ON && command.errand.step == Step::PreScript && now",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "scripts that came too early count",
        "shared/core/src/plan/scripts.rs",
        "            if post.requested >= surely_ended {",
        "            if $ON || post.requested >= surely_ended {",
    ),
    bug(
        Reconcile("scripts"),
        0,
        "a VSS backup is tried again whatever the scripts' retries",
        "shared/core/src/plan/create/scripted.rs",
        "        Step::VssBackup => true,",
        "        Step::VssBackup => !$ON,",
    ),
    bug(
        Units,
        0,
        "scripts of any document pass the audit",
        "shared/core/src/audit/rotate/commands.rs",
        "scripts.filter(|it| it.document() == request.document)",
        "scripts.filter(|it| $ON || it.document() == request.document)",
    ),
    bug(
        Units,
        0,
        "pre-scripts are sent again after a time-out",
        "shared/aws/src/ec2/commands.rs",
        "        let answer = if request.errand.step == Step::PostScript {",
        "        let answer = if $ON || request.errand.step == Step::PostScript {",
    ),
];
