//! What a candidate tells a server that names leaders, and whether the server would take it.
//!
//! In: versions and a strategy. Out: a verdict, and the LeaseCandidate object. Never: more than three numbers in a version.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::record::{map, map_of, micro_time};

/// How the server picks a leader among the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The oldest emulation version; among those the oldest binary version, then the oldest LeaseCandidate.
    #[default]
    OldestEmulationVersion,
}

/// Coordinated election (KEP-4355): kube-apiserver names who is to lead, among objects of the kind LeaseCandidate.
///
/// Each candidate keeps one in the Lease's namespace, called as its identity, answers when the server asks whether it is there, and claims
/// the Lease only when it is named. Before it begins it waits as ever until the last holder is over, if that hasn't released. A holder is
/// asked to hand over ([`Standing::asked_to_hand_over`](crate::Standing::asked_to_hand_over)) when the server prefers another. The
/// server compares times of its own wall clock with times of ours: who leads, and how soon, rests on them too; that two gates are never
/// open doesn't, among these candidates.
///
/// The server must have the feature gate `CoordinatedLeaderElection` and `--runtime-config=coordination.k8s.io/v1beta1=true` (1.33 and
/// later). Where it hasn't, nobody is named and nobody leads; the log says so. The Role must also allow get, create, update and delete on
/// `leasecandidates`. All candidates of the Lease should be coordinated, and share their timings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordination {
    /// The program's version: three numbers, as in `1.36.3`.
    pub binary_version: String,
    /// The version as which it behaves, not later than that of the binary.
    pub emulation_version: String,
    /// How the server picks. The strategy of the latest binary version counts.
    pub strategy: Strategy,
}

impl Coordination {
    /// A program that behaves as `emulation_version`; both are looked at when the elector is made.
    pub fn new(binary_version: impl Into<String>, emulation_version: impl Into<String>) -> Self {
        Self {
            binary_version: binary_version.into(),
            emulation_version: emulation_version.into(),
            strategy: Strategy::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let of = |what: &'static str, text: &str| {
            let wrong = "isn't three numbers with dots between, without leading zeros: write it as in \"1.36.3\"";
            version(text).ok_or(ConfigError::Version { what, text: text.to_owned(), wrong })
        };
        let binary = of("binary", &self.binary_version)?;
        let emulation = of("emulation", &self.emulation_version)?;
        let wrong = if emulation == [0, 0, 0] {
            "is none: give a later one than 0.0.0"
        } else if emulation > binary {
            "is later than that of the binary: give the binary's, or an older one"
        } else {
            return Ok(());
        };
        Err(ConfigError::Version { what: "emulation", text: self.emulation_version.clone(), wrong })
    }

    /// A new LeaseCandidate.
    pub(crate) fn candidate(&self, namespace: &str, identity: &str, lease: &str, wall: Timestamp) -> Value {
        let strategy = match self.strategy {
            Strategy::OldestEmulationVersion => "OldestEmulationVersion",
        };
        json!({
            "apiVersion": "coordination.k8s.io/v1beta1",
            "kind": "LeaseCandidate",
            "metadata": { "namespace": namespace, "name": identity },
            "spec": {
                "leaseName": lease,
                "binaryVersion": self.binary_version,
                "emulationVersion": self.emulation_version,
                "strategy": strategy,
                "renewTime": micro_time(wall),
            },
        })
    }
}

/// Whether the server waits for an answer of this LeaseCandidate.
pub(crate) fn is_pinged(candidate: &Value) -> bool {
    let asked = time(candidate, "pingTime");
    asked.is_some() && asked > time(candidate, "renewTime")
}

/// The LeaseCandidate that answers, or only shows that it is there: renewed now, or when it was asked, if a wall clock lags.
pub(crate) fn answered(candidate: &Value, wall: Timestamp) -> Value {
    let at = time(candidate, "pingTime").map_or(wall, |asked| asked.max(wall));
    let mut object = candidate.clone();
    map(map_of(&mut object), "spec").insert("renewTime".to_owned(), micro_time(at));
    object
}

fn time(candidate: &Value, field: &str) -> Option<Timestamp> {
    candidate["spec"][field].as_str()?.parse().ok()
}

fn version(text: &str) -> Option<[u64; 3]> {
    let number = |part: &str| {
        let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        plain.then(|| part.parse().ok()).flatten()
    };
    let parts: Option<Vec<u64>> = text.split('.').map(number).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what the server would refuse is refused at once, with a text that helps. Method: a table.
    #[test]
    fn versions_are_checked() {
        for good in [("1.36.3", "1.35.0"), ("1.0.0", "1.0.0"), ("10.0.0", "9.9.9")] {
            assert!(Coordination::new(good.0, good.1).check().is_ok(), "{good:?}");
        }
        for (binary, emulation, said) in [
            ("1.36", "1.35.0", "binary version \"1.36\" isn't three numbers"),
            ("1.36.0", "v1.35.0", "emulation version \"v1.35.0\" isn't three numbers"),
            ("1.36.0", "1.035.0", "without leading zeros"),
            ("1.36.0", "", "isn't three numbers"),
            ("1.36.0", "1.35.0.1", "isn't three numbers"),
            ("1.36.0", "1.35.99999999999999999999", "isn't three numbers"),
            ("1.36.0", "0.0.0", "is none"),
            ("1.36.0", "1.100.0", "is later than that of the binary"),
        ] {
            let text = Coordination::new(binary, emulation).check().unwrap_err().to_string();
            assert!(text.contains(said), "{text}");
        }
    }

    /// Goal: an unanswered question is seen and answered also by a wall clock that lags. Method: times by hand.
    #[test]
    fn questions_are_answered() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let mut object = Coordination::new("1.0.0", "1.0.0").candidate("ns", "me_1_0", "n", at(100));
        assert!(!is_pinged(&object));
        object["spec"]["pingTime"] = micro_time(at(130));
        assert!(is_pinged(&object));
        let answer = answered(&object, at(110));
        assert_eq!(answer["spec"]["renewTime"], micro_time(at(130)));
        assert!(!is_pinged(&answer));
        assert_eq!(answered(&object, at(150))["spec"]["renewTime"], micro_time(at(150)));
    }
}
