//! Shard: a part of a kind's objects, so that several processes can share the work on it.
//!
//! In: by what, which part, of how many. Out: the selector that a server understands, and whether an object belongs. A shard is
//! a range of the 64-bit FNV-1a hashes of a text that never changes in an object's life, so no object ever moves between
//! shards.
//!
//! A server with the feature `ShardedListAndWatch` (alpha in 1.36, off unless switched on) sends a shard's objects only. One
//! without it ignores the parameter and sends all; then what doesn't belong is dropped here before it is decoded. Nobody has
//! to know which of them it is.
//!
//! Upstream counterpart: `shardSelector` of ListOptions; `shardRange` in `kubernetes/apimachinery:pkg/sharding`.

use crate::decode::Identity;

/// The text that is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShardBy {
    /// The object's uid: parts of even size, since servers draw uids at random.
    Uid,
    /// Its namespace: all objects of a namespace in one part. Names that differ in their ends alone tend to the same part.
    Namespace,
}

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    by: ShardBy,
    first: u64,
    last: u64,
}

/// There is no such part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no shard {index} of {count}: they are counted from 0")]
pub struct NoSuchShard {
    index: u32,
    count: u32,
}

impl Shard {
    /// The part `index`, counted from 0, of `count` of the same size. Together they hold each object once.
    ///
    /// # Errors
    /// `index` isn't below `count`.
    pub fn of(by: ShardBy, index: u32, count: u32) -> Result<Self, NoSuchShard> {
        if index >= count {
            return Err(NoSuchShard { index, count });
        }
        let bound = |index: u32| (u128::from(index) << 64) / u128::from(count);
        let (first, end) = (bound(index), bound(index + 1));
        // Both fit: the first part begins at 0, and the last ends with the largest hash.
        let narrow = |bound: u128| u64::try_from(bound).unwrap_or(u64::MAX);
        Ok(Self { by, first: narrow(first), last: narrow(end - 1) })
    }

    /// The selector as the API has it.
    pub fn selector(&self) -> String {
        let field = match self.by {
            ShardBy::Uid => "object.metadata.uid",
            ShardBy::Namespace => "object.metadata.namespace",
        };
        format!("shardRange({field}, '0x{:016x}', '0x{:016x}')", self.first, u128::from(self.last) + 1)
    }

    /// Whether an object is in this part.
    pub fn holds(&self, identity: &Identity<'_>) -> bool {
        let text = match self.by {
            ShardBy::Uid => &identity.uid,
            ShardBy::Namespace => &identity.namespace,
        };
        (self.first..=self.last).contains(&fnv1a(text.as_bytes()))
    }
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo).
fn fnv1a(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::identity;

    /// Goal: the hash is the one that servers use. The values are those of its authors' test vectors.
    #[test]
    fn hashes() {
        assert_eq!([fnv1a(b""), fnv1a(b"a")], [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c]);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    /// Goal: the selector is what the API asks for: sixteen digits, seventeen for the end of all.
    #[test]
    fn selectors() {
        let half = |index| Shard::of(ShardBy::Uid, index, 2).unwrap().selector();
        assert_eq!(half(0), "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')");
        assert_eq!(half(1), "shardRange(object.metadata.uid, '0x8000000000000000', '0x10000000000000000')");
        let all = Shard::of(ShardBy::Namespace, 0, 1).unwrap().selector();
        assert_eq!(all, "shardRange(object.metadata.namespace, '0x0000000000000000', '0x10000000000000000')");
        assert_eq!(
            Shard::of(ShardBy::Uid, 3, 3).unwrap_err().to_string(),
            "there is no shard 3 of 3: they are counted from 0"
        );
        assert!(Shard::of(ShardBy::Uid, 0, 0).is_err());
    }

    /// Goal: each object is in exactly one part, however many there are, and the parts are of about the same size.
    #[test]
    fn parts_are_a_partition() {
        for count in [1, 2, 3, 7, 100] {
            let shards: Vec<_> = (0..count).map(|index| Shard::of(ShardBy::Uid, index, count).unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            // As servers make them, at random: the hash's upper bits tell texts hardly apart that differ in their ends alone.
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..10_000 {
                let item =
                    format!(r#"{{"metadata":{{"name":"n","uid":"{:032x}","resourceVersion":"1"}}}}"#, random.u128(..));
                let identity = identity(item.as_bytes()).unwrap();
                let holders: Vec<_> = (0..shards.len()).filter(|index| shards[*index].holds(&identity)).collect();
                assert_eq!(holders.len(), 1);
                sizes[holders[0]] += 1;
            }
            let even = 10_000 / shards.len();
            assert!(sizes.iter().all(|size| (even / 2..=even * 2).contains(size)), "{count}: {sizes:?}");
        }
    }
}
