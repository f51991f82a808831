//! Pods as protobuf: what a server sends of them.
//!
//! In: their list as JSON, and client-go's program. Out: the bytes of the list, of the events of a streaming list, and of the
//! event that ends a watch, all rendered beforehand by client-go's own code. There are no pages: client-go asks for them only
//! where a server with a watch cache sends everything anyway.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use watchkeeper::BoxError;

use super::json::{self, Form};
use crate::client_go;
use crate::pods::Pod;

/// Of an object or a list.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Of events, each behind its length.
pub(super) const STREAM_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// All that is sent.
pub(super) struct Rendered {
    pub(super) list: Bytes,
    pub(super) initial: Bytes,
    pub(super) expired: Bytes,
}

impl Rendered {
    pub(super) fn by(program: &Path, list: &[u8]) -> Result<Self, BoxError> {
        let [list, initial, expired] = render(program, list, &[], ["list", "initial", "expired"])?;
        Ok(Self { list, initial, expired })
    }
}

/// The events that objects have changed, a frame each.
pub(super) fn modified(program: &Path, pods: &[Pod]) -> Result<Vec<Bytes>, BoxError> {
    let list = json::list(pods, Form::Whole, None);
    let [events] = render(program, &list, &["--modified"], ["modified"])?;
    let events = frames(events)?;
    if events.len() == pods.len() { Ok(events) } else { Err("not as many events as Pods were rendered".into()) }
}

/// Runs the program once, with files in a temporary folder.
fn render<const N: usize>(
    program: &Path,
    list: &[u8],
    arguments: &[&str],
    files: [&str; N],
) -> Result<[Bytes; N], BoxError> {
    let folder = tempfile::tempdir()?;
    let pods = folder.path().join("pods.json");
    std::fs::write(&pods, list)?;
    let mut command = client_go::command(program);
    command.arg("render").args(arguments).arg("--to").arg(folder.path()).stdin(File::open(pods)?);
    let status = command.status()?;
    if !status.success() {
        return Err(format!("rendering the Pods as protobuf failed: {status}").into());
    }
    let mut contents = [const { Bytes::new() }; N];
    for (content, name) in contents.iter_mut().zip(files) {
        *content = std::fs::read(folder.path().join(name))?.into();
    }
    Ok(contents)
}

/// Splits a stream into its frames, each with the length before it: four bytes, the highest first.
fn frames(mut bytes: Bytes) -> Result<Vec<Bytes>, BoxError> {
    let mut frames = Vec::new();
    while let Some(length) = bytes.first_chunk() {
        let whole = length.len() + usize::try_from(u32::from_be_bytes(*length))?;
        if whole > bytes.len() {
            break;
        }
        frames.push(bytes.split_to(whole));
    }
    if bytes.is_empty() { Ok(frames) } else { Err("a frame is cut off".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_lengths() -> Result<(), BoxError> {
        let stream = Bytes::from_static(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d");
        assert_eq!(frames(stream.clone())?, [&b"\0\0\0\x03abc"[..], b"\0\0\0\0", b"\0\0\0\x01d"]);
        for end in [1, 3, 5, 9, 15] {
            assert!(frames(stream.slice(..end)).is_err(), "{end}");
        }
        assert!(frames(Bytes::new())?.is_empty());
        Ok(())
    }
}
