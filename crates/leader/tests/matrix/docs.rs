//! Whether the tests that `docs/failures.md` names are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TABLES: &str = include_str!("../../../../docs/failures.md");

/// Ways that an election can fail.
const ROWS: usize = 27;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names in the last cell of each row: what stands between backquotes and can be a function.
fn named() -> BTreeSet<&'static str> {
    let is_name =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let cells = TABLES.lines().filter_map(|line| line.trim_end_matches([' ', '|']).rsplit_once('|'));
    cells.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2)).filter(is_name).collect()
}

/// Goal: what the tables promise is tested. Method: each name in their last cells is a function of some source, and all rows
/// of elections are there.
#[test]
fn each_test_in_the_tables_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["crates", "e2e"] {
        sources(&root.join(folder), &mut files);
    }
    let functions: BTreeSet<String> = (files.iter())
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let names = text.split("fn ").skip(1).map(|rest| {
                rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>()
            });
            names.collect::<Vec<_>>()
        })
        .collect();
    let (names, missing): (Vec<_>, Vec<_>) = named().into_iter().partition(|name| functions.contains(*name));
    assert!(missing.is_empty(), "there are no tests {missing:?}");
    assert!(names.len() > 120, "only {} names were found", names.len());
    for row in 1..=ROWS {
        assert_eq!(TABLES.matches(&format!("\n| E{row}: ")).count(), 1, "E{row}");
    }
}
