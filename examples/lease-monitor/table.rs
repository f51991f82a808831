//! A [`View`] as text: a table like kubectl's, and a summary under it. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use crate::duration::brief;
use crate::judge::State;
use crate::view::{Row, View};

const HEAD: [&str; 8] = ["NAMESPACE", "NAME", "CLASS", "STATE", "HOLDER", "LAST-CHANGE", "EXPIRES-IN", "TRANSITIONS"];

/// Longer names are cut in the middle of a table; `-o json` has them whole.
const WIDEST: usize = 40;

/// The table, with its summary; `extra` are more lines for the summary, such as who leads.
pub(crate) fn render(view: &View, extra: &[String]) -> String {
    let rows: Vec<[String; 8]> = view.leases.iter().map(cells).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    line(&mut text, &HEAD.map(str::to_owned), (&widths, None));
    for (row, cells) in view.leases.iter().zip(&rows) {
        line(&mut text, cells, (&widths, row.finding.as_deref()));
    }
    for summary in std::iter::once(summary(view)).chain(extra.iter().cloned()) {
        let _ = writeln!(text, "{summary}");
    }
    text
}

fn line(text: &mut String, cells: &[String; 8], (widths, finding): (&[usize; 8], Option<&str>)) {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(line, "{cell:width$}  ");
    }
    if let Some(finding) = finding {
        let _ = write!(line, "! {finding}");
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

fn cells(row: &Row) -> [String; 8] {
    let seconds = |seconds: f64| brief(Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default());
    let guess = if row.estimated { "~" } else { "" };
    let bound = if row.estimated || row.change_observed { "" } else { ">" };
    let expires = row.expires_in_seconds.filter(|_| row.estimated || row.change_observed || row.state == State::Stale);
    [
        cut(&row.namespace),
        cut(&row.name),
        row.class.word().to_owned(),
        format!("{guess}{}", row.state.word()),
        row.holder.as_deref().map_or_else(|| "-".to_owned(), cut),
        row.last_change_seconds.map_or_else(|| "-".to_owned(), |age| format!("{guess}{bound}{}", seconds(age))),
        match expires {
            None => "-".to_owned(),
            Some(left) if left < 0.0 => format!("{guess}{} ago", seconds(left)),
            Some(left) => format!("{guess}{}", seconds(left)),
        },
        row.transitions.map_or_else(|| "-".to_owned(), |count| count.to_string()),
    ]
}

fn summary(view: &View) -> String {
    let total: usize = view.states.values().sum();
    let mut parts = Vec::new();
    for state in State::WORST_FIRST {
        if let Some(count) = view.states.get(&state) {
            parts.push(format!("{count} {state}"));
        }
    }
    let mut text = match total {
        0 => "no Leases".to_owned(),
        1 => format!("1 Lease: {}", parts.join(", ")),
        _ => format!("{total} Leases: {}", parts.join(", ")),
    };
    if view.findings > 0 {
        let _ = write!(text, "; {} with a finding (!)", view.findings);
    }
    if view.not_shown > 0 {
        let _ = write!(text, "; {} not shown, the worst come first", view.not_shown);
    }
    if view.cut_off {
        text.push_str("; the API server can't be watched at present, so nothing is judged by age");
    }
    text
}

/// Controls are taken out: names come from the cluster, and a terminal would obey them.
fn cut(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    let length = clean.chars().count();
    if length <= WIDEST {
        return clean;
    }
    let head: String = clean.chars().take(WIDEST - 9).collect();
    let tail: String = clean.chars().skip(length - 8).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    fn row(name: &str, state: State) -> Row {
        Row {
            namespace: "ns".into(),
            name: name.into(),
            class: Class::Election,
            state,
            estimated: false,
            holder: Some("pod-1".into()),
            last_change_seconds: Some(3.0),
            change_observed: true,
            expires_in_seconds: Some(-1.5),
            transitions: Some(4),
            finding: None,
        }
    }

    fn view(leases: Vec<Row>) -> View {
        let states = crate::board::count(leases.iter().map(|row| row.state));
        View { leases, not_shown: 7, states, findings: 1, changes: 0, lag_millis: None, cut_off: false }
    }

    #[test]
    fn columns_line_up_and_nothing_is_left_out_silently() {
        let odd = Row {
            finding: Some("invalid duration: -5s".into()),
            holder: Some(format!("\u{1b}[31m{}", "x".repeat(60))),
            change_observed: false,
            ..row("b", State::Watching)
        };
        let text = render(&view(vec![row("a-long-name", State::Stale), odd]), &["leader: me".into()]);
        let lines: Vec<_> = text.lines().collect();
        let column = lines[0].find("STATE").expect("a head");
        assert!(lines[1][column..].starts_with("stale") && lines[2][column..].starts_with("watching"), "{text}");
        assert!(lines[1].contains("3s") && lines[1].contains("1.5s ago"), "{text}");
        assert!(lines[2].contains(">3s") && lines[2].ends_with("! invalid duration: -5s"), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains('…'), "{text}");
        assert_eq!(lines[3], "2 Leases: 1 stale, 1 watching; 1 with a finding (!); 7 not shown, the worst come first");
        assert_eq!(lines[4], "leader: me");
    }

    #[test]
    fn estimates_are_marked() {
        let text = render(&view(vec![Row { estimated: true, ..row("a", State::Late) }]), &[]);
        assert!(text.contains("~late") && text.contains("~3s"), "{text}");
    }
}
