//! As much of Logs Insights as the dashboards ask for, over lines of a function's log.

use serde_json::Value;
use snapferry_tests::Result;

/// What one command of a query does.
#[derive(Debug)]
enum Command {
    /// Columns: what is shown, and what it is called.
    Fields(Vec<(String, String)>),
    /// Any of these, in each of which all of these members have these values.
    Filter(Vec<Vec<(String, String)>>),
    /// By these columns, the last first.
    Sort(Vec<String>),
    /// One for each combination of these.
    Dedup(Vec<String>),
    Limit(usize),
}

/// A query of one log group.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) log_group: String,
    commands: Vec<Command>,
}

/// A line of the log as a query shows it: a value, or nothing, for every column.
pub(crate) type Row = Vec<(String, Option<Value>)>;

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut commands = text.split(" | ");
        let source = commands.next().and_then(|it| it.strip_prefix("SOURCE '")?.strip_suffix('\''));
        let log_group = source.ok_or_else(|| format!("want SOURCE '<log group>' first: {text}"))?;
        let commands = commands.map(Command::parse).collect::<Result<_>>()?;
        Ok(Self { log_group: log_group.to_owned(), commands })
    }

    pub(crate) fn columns(&self) -> Vec<&str> {
        let fields = self.commands.iter().filter_map(|it| match it {
            Command::Fields(fields) => Some(fields),
            _ => None,
        });
        fields.flatten().map(|(_, name)| name.as_str()).collect()
    }

    /// Its rows for these lines.
    pub(crate) fn run(&self, lines: &[Value]) -> Vec<Row> {
        // Commands before `fields` see the line, and all its columns too.
        let mut rows: Vec<(&Value, Row)> = lines.iter().map(|line| (line, Row::new())).collect();
        for command in &self.commands {
            match command {
                Command::Fields(fields) => {
                    for (line, row) in &mut rows {
                        row.extend(
                            fields.iter().map(|(what, name)| (name.clone(), value(line, what))),
                        );
                    }
                }
                Command::Filter(any) => rows.retain(|(line, _)| {
                    let is = |(member, want): &(String, String)| {
                        value(line, member).is_some_and(|it| it == want.as_str())
                    };
                    any.iter().any(|all| all.iter().all(is))
                }),
                Command::Sort(columns) => rows.sort_by(|a, b| {
                    let key = |row: &Row| {
                        columns.iter().map(|it| sortable(cell(row, it))).collect::<Vec<_>>()
                    };
                    key(&b.1).cmp(&key(&a.1))
                }),
                Command::Dedup(columns) => {
                    let mut seen = std::collections::BTreeSet::new();
                    rows.retain(|(_, row)| {
                        let key = columns.iter().map(|it| sortable(cell(row, it)));
                        seen.insert(key.collect::<Vec<_>>())
                    });
                }
                Command::Limit(n) => rows.truncate(*n),
            }
        }
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

impl Command {
    fn parse(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once(' ').ok_or_else(|| format!("no command: {text}"))?;
        let list = split(rest).into_iter().map(|it| it.trim().to_owned());
        Ok(match name {
            "fields" => Self::Fields(
                list.map(|it| match it.split_once(" as ") {
                    Some((what, name)) => (what.to_owned(), name.to_owned()),
                    None => (it.clone(), it),
                })
                .collect(),
            ),
            "filter" => {
                let any = rest.split(" or ").map(|all| all.split(" and ").map(equality).collect());
                Self::Filter(any.collect::<Result<_>>()?)
            }
            "sort" => {
                let by = list.map(|it| {
                    let column = it.strip_suffix(" desc").map(str::to_owned);
                    column.ok_or_else(|| format!("the last first is understood, not {it}").into())
                });
                Self::Sort(by.collect::<Result<_>>()?)
            }
            "dedup" => Self::Dedup(list.collect()),
            "limit" => Self::Limit(rest.parse()?),
            _ => return Err(format!("{name} is more than is understood here").into()),
        })
    }
}

fn equality(text: &str) -> Result<(String, String)> {
    let parts = text.split_once(" = ");
    let (member, value) = parts.ok_or_else(|| format!("no equality: {text}"))?;
    let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    Ok((member.to_owned(), value.ok_or_else(|| format!("no text: {text}"))?.to_owned()))
}

/// At commas that are not within parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .collect()
}

fn value(line: &Value, what: &str) -> Option<Value> {
    if what == "datefloor(@timestamp, 1m)" {
        return Some((line.get("@timestamp")?.as_i64()? / 60_000).into());
    }
    line.pointer(&format!("/{}", what.replace('.', "/"))).cloned()
}

fn cell<'a>(row: &'a Row, column: &str) -> Option<&'a Value> {
    row.iter().find(|(name, _)| name == column)?.1.as_ref()
}

/// Numbers by size, texts by letters, nothing first.
fn sortable(value: Option<&Value>) -> (i64, String) {
    let number = value.and_then(Value::as_i64).unwrap_or(i64::MIN);
    (number, value.map(ToString::to_string).unwrap_or_default())
}
