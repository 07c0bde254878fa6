//! Whether a copy may begin: of the right thing, to the right place, under the right key, and with tags that say the
//! truth, because whoever looks at the copy later has nothing but them to go by.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Claim, Copies, CopyClaim, CopyRule, CopySnapshot, Origin, Planned, Region, Snapshot,
    SnapshotId, State, World, rules_of, tags,
};
use crate::description;
use crate::schedule::Slot;

/// What the plan begins.
#[derive(Default)]
pub(super) struct Begun {
    /// Policy, rule and source.
    copies: BTreeSet<(String, String, SnapshotId)>,
    by_region: BTreeMap<Region, usize>,
}

/// EC2's limit per destination Region
/// ([CopySnapshot](https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html)).
const AT_ONCE: usize = 20;

/// EC2's limit for a description, in characters.
const DESCRIPTION: usize = 255;

/// What a copy is asked for with, and what for.
struct Copying<'a> {
    request: &'a CopySnapshot,
    claim: &'a CopyClaim,
    source: &'a Snapshot,
    of: Origin<'a>,
    rules: &'a [&'a CopyRule],
}

impl World<'_> {
    /// A copy goes where a rule says, under the rule's key, of a snapshot that a wanted owner shares or that the
    /// policy's own schedules made, and there is none yet.
    pub(super) fn copy(
        &self,
        planned: &Planned,
        request: &CopySnapshot,
        begun: &mut Begun,
    ) -> Result<(), String> {
        let claim = CopyClaim::read(&request.tags).ok_or("the copy would not carry its lineage")?;
        let source = self
            .sources
            .get(&(&request.source_region, &request.source))
            .ok_or("the source was not seen in this run")?;
        let copies = self
            .policy(&claim.policy)
            .filter(|copies| copies.policy.enabled)
            .ok_or("its policy is not in force")?;
        self.may_copy(copies, source, &claim)?;
        let rules = rules_of(copies, &claim);
        if rules.is_empty() || (self.facts.within && rules.len() < claim.schedules.len()) {
            return Err("its policy has no such rule".into());
        }
        let account = &self.facts.inventory.account;
        for rule in &rules {
            if rule.target != planned.scope.region || planned.scope.account != *account {
                return Err(format!(
                    "the rule copies to {}, not to {}",
                    rule.target, planned.scope
                ));
            }
            if rule.encrypted != request.encrypted || rule.cmk_arn != request.kms_key {
                return Err("the rule says another encryption".into());
            }
        }
        let copying = Copying { request, claim: &claim, source, of: copies.of, rules: &rules };
        copying.tells_the_truth()?;
        copying.fits()?;
        copying.explained(self)?;
        copying.ends_as_the_rules_say(self)?;
        self.has_room(planned, claim, begun)
    }

    fn may_copy(
        &self,
        copies: &Copies<'_>,
        source: &Snapshot,
        claim: &CopyClaim,
    ) -> Result<(), String> {
        let name = &copies.policy.name;
        if source.state != State::Completed {
            return Err(format!("the source is {}", source.state));
        }
        match copies.of {
            Origin::Shared(details) if !details.owners.contains(&source.owner) => {
                Err(format!("{} is no SnapshotOwner of policy {name}", source.owner))
            }
            Origin::Shared(details)
                if details
                    .description
                    .as_ref()
                    .is_some_and(|it| !it.is_match(&source.description)) =>
            {
                Err(format!("DescriptionRegex of policy {name} does not want it"))
            }
            Origin::Shared(_) if claim.schedules.is_empty() => Ok(()),
            Origin::Own if source.owner == self.facts.inventory.account => {
                let of_source = Claim::read(&source.tags).ok_or("the source is not ours")?;
                let fits = of_source.policy == *name
                    && !claim.schedules.is_empty()
                    && claim.schedules.is_subset(&of_source.schedules);
                if fits { Ok(()) } else { Err("the source is of another schedule".into()) }
            }
            _ => Err("the source is not what the policy copies".into()),
        }
    }

    /// None is there that is or may become good, none is planned twice, and EC2 has a place for it.
    fn has_room(
        &self,
        planned: &Planned,
        claim: CopyClaim,
        begun: &mut Begun,
    ) -> Result<(), String> {
        let region = &planned.scope.region;
        let target = self.facts.inventory.targets.get(region).ok_or("its Region was not read")?;
        let is_alike = |it: &&Snapshot| {
            let tag = |key: &str| it.tags.get(key).map_or("", String::as_str);
            it.state != State::Error
                && it.owner == self.facts.inventory.account
                && tag(tags::SOURCE_SNAPSHOT) == claim.source_snapshot.as_str()
                && (tag(tags::POLICY), tag(tags::RULE)) == (&*claim.policy, &*claim.rule)
        };
        // What carries only some of our tags is nobody's copy.
        let is_there = target.copies.iter().filter(is_alike).any(|it| {
            CopyClaim::read(&it.tags)
                .is_some_and(|it| it.schedules.is_empty() == claim.schedules.is_empty())
        });
        if is_there {
            return Err("there is a copy by the same rule already".into());
        }
        if !begun.copies.insert((claim.policy, claim.rule, claim.source_snapshot)) {
            return Err("the same copy is planned twice".into());
        }
        let n = begun.by_region.entry(region.clone()).or_default();
        *n += 1;
        if *n + target.in_progress.len() > AT_ONCE {
            return Err(format!("EC2 has {AT_ONCE} copies in progress in {region}, and no more"));
        }
        Ok(())
    }
}

impl Copying<'_> {
    /// Its lineage is the source's, as EC2 and, for slot and perhaps volume, the description tell it.
    fn tells_the_truth(&self) -> Result<(), String> {
        let Self { request, claim, source, .. } = self;
        let is_source = source.owner == claim.source_account
            && request.source == claim.source_snapshot
            && request.source_region == claim.source_region;
        if !is_source {
            return Err("its lineage would name another source".into());
        }
        let is_volume = if source.volume_id.is_placeholder() {
            claim.volume_described != claim.source_volume.is_placeholder()
        } else {
            claim.source_volume == source.volume_id && !claim.volume_described
        };
        if !is_volume {
            return Err("its lineage would not tell the volume that EC2 tells".into());
        }
        // Tags tell whole seconds.
        if claim.source_start != Some(Slot::new(source.start_time).timestamp()) {
            return Err("its lineage would tell another start of its source".into());
        }
        let described = description::read(&source.description);
        if claim.slot.is_some() && claim.slot != described.map(|it| it.slot) {
            return Err("its lineage would tell another slot than the description".into());
        }
        if request.source_encrypted != source.encrypted {
            return Err("it would not be asked for as encrypted as its source is".into());
        }
        Ok(())
    }

    /// No tag is there that nobody wants, or that makes the copy somebody else's: tags decide who may delete it.
    fn explained(&self, world: &World<'_>) -> Result<(), String> {
        let ours = self.claim.write();
        let wanted = self.rules.iter().any(|rule| rule.copy_tags);
        for (key, value) in &self.request.tags {
            let added = self.rules.iter().any(|rule| rule.tags_to_add.get(key) == Some(value));
            if ours.get(key) == Some(value) || key == tags::EXPIRES_AT || added {
                continue;
            }
            let copied = wanted && self.is_of_source(world, key, value);
            let lower = key.to_ascii_lowercase();
            let reserved = lower.starts_with("aws:") || lower.starts_with("snapferry:");
            if !copied || reserved || key == "dlm:managed" {
                return Err(format!("nothing explains its tag {key}"));
            }
        }
        Ok(())
    }

    fn is_of_source(&self, world: &World<'_>, key: &str, value: &String) -> bool {
        match self.of {
            Origin::Own => self.source.tags.get(key) == Some(value),
            Origin::Shared(_) => {
                let told = world.facts.inventory.source_tags.get(&self.source.id);
                let of_owner = told.is_some_and(|tags| tags.get(key) == Some(value));
                // The description carries a name, too.
                let name = description::read(&self.source.description).and_then(|it| it.name);
                of_owner || (key == "Name" && name.as_ref() == Some(value))
            }
        }
    }

    /// Age ends a copy by nothing but the tag it is born with, so that is where it has to be right.
    fn ends_as_the_rules_say(&self, world: &World<'_>) -> Result<(), String> {
        let is_for_ever = self.rules.iter().any(|rule| rule.retain.is_none());
        let ages = self.rules.iter().filter_map(|rule| rule.retain.as_ref()?.age);
        let latest = ages.map(|age| age.after(world.facts.now)).max().filter(|_| !is_for_ever);
        let told = self.request.tags.get(tags::EXPIRES_AT).cloned();
        if told == latest.map(tags::instant) {
            return Ok(());
        }
        Err(format!(
            "it would expire at {}, which no rule says",
            told.as_deref().unwrap_or("no time")
        ))
    }

    /// What EC2 takes, and what the rules pay for.
    fn fits(&self) -> Result<(), String> {
        let Self { request, rules, .. } = self;
        if request.tags.len() > tags::MAX_TAGS {
            return Err(format!("{} tags are more than EC2 takes", request.tags.len()));
        }
        let n = request.description.chars().count();
        if n > DESCRIPTION {
            return Err(format!("a description of {n} characters is more than EC2 takes"));
        }
        let minutes = request.completion_duration_minutes;
        if minutes.is_some() && rules.iter().all(|it| it.completion_duration_minutes != minutes) {
            return Err("no rule says CompletionDurationMinutes like that".into());
        }
        Ok(())
    }
}
