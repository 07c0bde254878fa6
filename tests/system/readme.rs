//! README against the template: every alarm has its page, every parameter its row, every link its place.

use std::collections::BTreeSet;

use snapferry_tests::Result;
use snapferry_tests::machine::project;

fn file(name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(project().join(name))?)
}

/// The lines of a part of the text, from one line on until another one.
fn part<'a>(text: &'a str, from: &str, until: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let lines = text.lines().skip_while(|line| *line != from).skip(1);
    lines.take_while(|line| !until(line)).collect()
}

/// `  Name:`, as resources and parameters of a template are named.
fn named(line: &str) -> Option<&str> {
    let name = line.strip_prefix("  ")?.strip_suffix(':')?;
    name.chars().all(|c| c.is_ascii_alphanumeric()).then_some(name)
}

/// A template's alarms, each with what it says of itself.
fn alarms(template: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = template.lines().collect();
    let mut found = Vec::new();
    let mut name = "";
    for (n, line) in lines.iter().enumerate() {
        name = named(line).unwrap_or(name);
        if *line == "    Type: AWS::CloudWatch::Alarm" {
            let own =
                lines[n..].iter().take_while(|line| !line.is_empty() && named(line).is_none());
            let text = own.skip_while(|line| !line.starts_with("      AlarmDescription:"));
            let text: Vec<&str> = text
                .enumerate()
                .take_while(|(n, line)| *n == 0 || line.starts_with("        "))
                .map(|(_, line)| line.trim())
                .collect();
            let text = text.join(" ");
            let text = text.trim_start_matches("AlarmDescription:").trim().trim_start_matches(">-");
            found.push((name.to_owned(), text.trim().to_owned()));
        }
    }
    found
}

#[test]
fn every_alarm_has_a_page_and_every_page_an_alarm() -> Result<()> {
    let (template, readme) = (file("template.yaml")?, file("README.md")?);
    let alarms = alarms(&template);
    assert_eq!(template.matches("Type: AWS::CloudWatch::Alarm").count(), alarms.len());
    let mut kinds = BTreeSet::new();
    for (name, description) in &alarms {
        assert!(description.len() > 40, "{name} says too little of itself: {description:?}");
        let kind = name.strip_suffix("Alarm").ok_or_else(|| format!("{name} is no …Alarm"))?;
        let kind = ["RotateSnapshots", "CopySharedSnapshots", "OnDemand"]
            .iter()
            .find_map(|it| kind.strip_prefix(it));
        kinds.insert(kind.ok_or_else(|| format!("{name} is of no function"))?.to_owned());
    }
    let pages: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("### Alarm: "))
        .map(Into::into)
        .collect();
    assert_eq!(pages, kinds);
    for kind in kinds {
        let page = part(&readme, &format!("### Alarm: {kind}"), |line| line.starts_with('#'));
        for wanted in ["**Means**", "```sh", "**Do**", "**Ends**"] {
            assert!(page.iter().any(|line| line.starts_with(wanted)), "{kind} lacks {wanted}");
        }
        let row = format!("| [{kind}](#alarm-{}) | ", kind.to_lowercase());
        assert!(readme.contains(&row), "the table of alarms lacks {row}");
    }
    Ok(())
}

#[test]
fn every_parameter_is_in_the_table_and_every_output_that_readme_names_is_there() -> Result<()> {
    let (template, readme) = (file("template.yaml")?, file("README.md")?);
    let names = |from: &str| -> BTreeSet<&str> {
        let top = |line: &str| line.starts_with(|c: char| c.is_ascii_uppercase());
        part(&template, from, top).into_iter().filter_map(named).collect()
    };
    let parameters = names("Parameters:");
    assert!(parameters.len() > 20, "{parameters:?}");
    let table = part(&readme, "### Parameters", |line| line.starts_with('#'));
    let first = table.iter().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let told: BTreeSet<&str> =
        first.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    assert_eq!(told, parameters);
    let outputs = names("Outputs:");
    for function in ["RotateSnapshots", "CopySharedSnapshots"] {
        for output in ["FunctionArn", "FailuresUrl", "RoleArn", "Dashboard"] {
            assert!(outputs.contains(format!("{function}{output}").as_str()), "{function}{output}");
        }
    }
    for of in readme.split("$(output ").skip(1) {
        let mut words = of.split(')').next().unwrap_or_default().split(' ');
        let name = words.next_back().unwrap_or_default().replace("${of}", "RotateSnapshots");
        assert!(outputs.contains(name.as_str()), "the template has no output {name}");
    }
    Ok(())
}

/// As GitHub names headings.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if line.starts_with('#') && !in_code {
            assert!(anchors.insert(anchor(line)), "twice: {line}");
        }
    }
    anchors
}

#[test]
fn every_link_of_readme_leads_somewhere() -> Result<()> {
    let readme = file("README.md")?;
    for target in readme.split("](").skip(1).filter_map(|it| it.split(')').next()) {
        if target.starts_with("http") {
            continue;
        }
        let (path, place) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() { "README.md" } else { path };
        assert!(project().join(path).exists(), "no file {target}");
        assert!(place.is_empty() || anchors(&file(path)?).contains(place), "no heading: {target}");
    }
    Ok(())
}
