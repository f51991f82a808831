//! What the log of requests and faults tells a judge.
//!
//! Comes in: a server that has kept its log ([`Faults::record`](crate::fault::Faults::record)). Goes out: when requests were
//! sent, and how often each kind of fault has fired.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ApiServer;

/// When each identity sent its requests for paths that contain `path`, ascending, as far as anything became of them.
pub fn requests(server: &ApiServer, path: &str) -> BTreeMap<String, Vec<Duration>> {
    let mut first: BTreeMap<u64, (String, Duration)> = BTreeMap::new();
    for line in server.faults().log() {
        // MILLIS #NUMBER IDENTITY VERB PATH ...
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        let [millis, number, identity, _, asked, ..] = words[..] else { continue };
        let number = number.strip_prefix('#').and_then(|number| number.parse().ok());
        if let (Ok(millis), Some(number)) = (millis.parse(), number)
            && asked.contains(path)
        {
            first.entry(number).or_insert((identity.to_owned(), Duration::from_millis(millis)));
        }
    }
    let mut sent: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for (identity, at) in first.into_values() {
        sent.entry(identity).or_default().push(at);
    }
    sent.values_mut().for_each(|times| times.sort_unstable());
    sent
}

/// How often each kind of fault has fired: what a scenario did itself, by its names, and what the server's rules did.
pub fn fired<'a>(server: &ApiServer, own: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let by_rules = server.faults().fired().by_action;
    let mut fired: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in own.into_iter().map(|name| (name, 1)).chain(by_rules) {
        *fired.entry(name.to_owned()).or_default() += count;
    }
    fired
}
