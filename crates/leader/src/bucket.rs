//! Buckets: a controller's keys in several parts, each with a Lease of its own, so that replicas share the work.
//!
//! In: keys, and who is there. Out: which bucket a key is in, what its Lease is called, who should hold it. All pure, and the same in
//! every replica and version. Never: who does hold it (that is the election's).
//!
//! A key's bucket is the 64-bit FNV-1a hash of the bytes of `namespace/name` (`/name` for objects of the cluster), modulo the number of
//! buckets. Leases are called `<lease>.NN-of-MM`, as in knative (`knative/pkg:leaderelection/config.go`).

use std::fmt;

/// The most buckets of one controller. Each is a Lease that is written every retry period.
pub const MOST_BUCKETS: u32 = 99;

/// How many buckets there are: 1 to [`MOST_BUCKETS`]. All replicas must agree on the number; see [`Stand::Shared`](crate::Stand) for what
/// happens while they don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buckets(u32);

/// A number of buckets that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} buckets can't be had: choose 1 to {MOST_BUCKETS}")]
pub struct BucketsError(pub u32);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    index: u32,
    of: Buckets,
}

impl Buckets {
    /// So many.
    ///
    /// # Errors
    /// None, or too many.
    pub const fn new(count: u32) -> Result<Self, BucketsError> {
        if count == 0 || count > MOST_BUCKETS { Err(BucketsError(count)) } else { Ok(Self(count)) }
    }

    /// How many.
    pub const fn count(self) -> u32 {
        self.0
    }

    /// All of them, in order.
    pub fn all(self) -> impl Iterator<Item = Bucket> {
        (0..self.0).map(move |index| Bucket { index, of: self })
    }

    /// The bucket of an object's key. The namespace is empty for objects of the cluster.
    pub fn of(self, namespace: &str, name: &str) -> Bucket {
        let hash = fnv1a(namespace.bytes().chain([b'/']).chain(name.bytes()));
        let index = u32::try_from(hash % u64::from(self.0)).unwrap_or(0);
        Bucket { index, of: self }
    }

    /// Who should hold which bucket, by index into `members`; one entry a bucket, none if there is no member.
    ///
    /// Each bucket goes to the member that ranks highest for it (rendezvous hashing) among those that have no more than their share
    /// yet. So all have as many, give or take one, and a member that comes or goes moves few buckets between the others. The order of
    /// `members` doesn't matter.
    pub fn shares(self, members: &[&str]) -> Vec<Option<usize>> {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|member| members[*member]);
        order.dedup_by_key(|member| members[*member]);
        let people = u32::try_from(order.len()).unwrap_or(u32::MAX);
        if people == 0 {
            return self.all().map(|_| None).collect();
        }
        let (share, over) = (self.0 / people, self.0 % people);
        let (mut held, mut over_left) = (vec![0; members.len()], over);
        let mut shares = Vec::new();
        for bucket in self.all() {
            let free = |member: &&usize| held[**member] < share || (held[**member] == share && over_left > 0);
            let best = order.iter().filter(free).max_by_key(|member| rank(members[**member], bucket.index)).copied();
            if let Some(best) = best {
                if held[best] == share {
                    over_left -= 1;
                }
                held[best] += 1;
            }
            shares.push(best);
        }
        shares
    }
}

impl Bucket {
    /// Its number, from zero.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The name of its Lease: that of the whole, and `NN-of-MM`.
    pub fn lease_name(self, whole: &str) -> String {
        format!("{whole}.{self}")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}-of-{:02}", self.index, self.of.0)
    }
}

/// How much a member is meant for a bucket: the higher, the more. Mixed, since FNV's high bits say little of the last bytes.
fn rank(member: &str, bucket: u32) -> u64 {
    let mut hash = fnv1a(member.bytes().chain(bucket.to_le_bytes()));
    for _ in 0..2 {
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash ^ (hash >> 29)
}

/// The 64-bit FNV-1a hash.
pub(crate) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the hash is the published one, so that every version of every program agrees. Method: known values of FNV-1a.
    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(*b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(*b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_f739_67e8);
        let ten = Buckets::new(10).unwrap();
        assert_eq!(u64::from(ten.of("foo", "bar").index()), fnv1a(*b"foo/bar") % 10);
        assert_eq!(ten.of("", "node").lease_name("my-controller").len(), "my-controller.00-of-10".len());
    }

    /// Goal: keys spread evenly. Method: 10,000 keys as a cluster has them in ten buckets.
    #[test]
    fn keys_spread() {
        let ten = Buckets::new(10).unwrap();
        let mut counts = [0; 10];
        for number in 0..10_000 {
            counts[ten.of(&format!("team-{}", number % 7), &format!("web-{number}")).index() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    /// Goal: shares are even, the same for everybody, and few buckets move. Method: all numbers of members and buckets up to 20 and 30.
    #[test]
    fn shares_are_even_and_steady() {
        let names: Vec<String> = (0..20).map(|number| format!("pod-{number}_{number}_abc")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for count in 1..=30 {
            let buckets = Buckets::new(count).unwrap();
            assert!(buckets.shares(&[]).iter().all(Option::is_none));
            for people in 1..=20 {
                let shares = buckets.shares(&names[..people]);
                let of = |member| shares.iter().filter(|share| **share == Some(member)).count();
                let (least, most) = ((0..people).map(of).min().unwrap(), (0..people).map(of).max().unwrap());
                assert!(most - least <= 1, "{count} buckets, {people} members: {shares:?}");
                let mut reversed: Vec<&str> = names[..people].to_vec();
                reversed.reverse();
                let others: Vec<_> =
                    buckets.shares(&reversed).iter().map(|share| share.map(|at| people - 1 - at)).collect();
                assert_eq!(shares, others, "the order of members doesn't matter");
            }
        }
        let (of, to) = (Buckets::new(30).unwrap().shares(&names[..5]), Buckets::new(30).unwrap().shares(&names[..6]));
        let moved = of.iter().zip(&to).filter(|(of, to)| of != to).count();
        assert!(moved <= 15, "{moved} of 30 buckets move when a sixth member comes");
    }

    /// Goal: numbers that can't work are refused. Method: the edges.
    #[test]
    fn counts_are_bounded() {
        assert_eq!(Buckets::new(0), Err(BucketsError(0)));
        assert_eq!(Buckets::new(100), Err(BucketsError(100)));
        assert_eq!(Buckets::new(99).unwrap().all().last().unwrap().to_string(), "98-of-99");
    }
}
