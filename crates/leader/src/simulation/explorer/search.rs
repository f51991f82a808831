//! The search through all choices, breadth first, so that what is found is found by the fewest steps.
//!
//! In: a world. Out: how many states there are, and the shortest way to a broken promise. Never: visits a state twice, or
//! keeps one after its choices have been taken: only 128 bits of it, and how it was reached.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::trace::tell;
use super::world::{Choice, World};

/// What a search has found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// The most steps from the beginning to any state.
    pub(crate) depth: u32,
    /// Whether every state that can be reached was visited.
    pub(crate) complete: bool,
    /// What was broken, and the steps to it.
    pub(crate) violation: Option<(String, Vec<String>)>,
}

/// Looks at all states, or until a promise is broken, or at `most` of them.
pub(crate) fn search(start: &World, most: usize) -> Found {
    let mut seen: HashSet<u128, BuildHasherDefault<Mark>> = HashSet::default();
    let mut ways: Vec<(u32, Choice)> = vec![(0, Choice::Tick)];
    let mut waiting = VecDeque::from([(start.clone(), 0_u32, 0_u32)]);
    let mut found = Found { states: 1, depth: 0, complete: true, violation: None };
    let mut choices = Vec::new();
    seen.insert(start.mark());
    while let Some((world, place, depth)) = waiting.pop_front() {
        found.depth = found.depth.max(depth);
        world.choices(&mut choices);
        for choice in choices.drain(..) {
            match world.take(choice) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    if !seen.insert(next.mark()) {
                        continue;
                    }
                    if ways.len() >= most {
                        found.complete = false;
                        continue;
                    }
                    ways.push((place, choice));
                    waiting.push_back((next, u32::try_from(ways.len() - 1).unwrap_or(u32::MAX), depth + 1));
                }
                Err(broken) => {
                    found.depth = depth + 1;
                    found.states = ways.len();
                    found.complete = false;
                    found.violation = Some((broken, tell(start, &way(&ways, place, choice))));
                    return found;
                }
            }
        }
        if !found.complete {
            break;
        }
    }
    found.states = ways.len();
    found
}

fn way(ways: &[(u32, Choice)], mut place: u32, last: Choice) -> Vec<Choice> {
    let mut steps = vec![last];
    while place != 0 {
        let (before, choice) = ways[place as usize];
        steps.push(choice);
        place = before;
    }
    steps.reverse();
    steps
}

/// The marks are hashes already.
#[derive(Default)]
struct Mark(u64);

impl Hasher for Mark {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte));
    }

    fn write_u128(&mut self, mark: u128) {
        self.0 = mark as u64;
    }
}
