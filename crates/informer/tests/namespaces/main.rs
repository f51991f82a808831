//! Informers over several namespaces: those that stay as they are, and those whose namespaces come and go.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod changing;
mod ending;
mod fixed;
mod harm;
mod scripts;
