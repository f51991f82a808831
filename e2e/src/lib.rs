//! Tests against a real control plane: the harness that runs one, and the checker of exclusivity.
//!
//! ```text
//! folder ── process ──┬─ controlplane (etcd, kube-apiserver)   kubeconfig (one file an identity)
//!                     ├─ embedded     (watchkeeper-apiserver)
//!                     ├─ proxy        (cuts one direction), wallclock (steps one process's)
//!                     └─ the programs under test: replica, elector (client-go's)
//!                                       → traces, write logs → exclusive::check
//! ```
//!
//! In: paths of binaries, from the environment (see `e2e/run`). Out: running servers with kubeconfigs, and a verdict.
//! Never: leaves a process or a folder behind, however the test ends.

#![forbid(unsafe_code)]

pub mod apiserver;
pub mod candidate;
pub mod clock;
pub mod conformance;
pub mod controlplane;
pub mod elector;
pub mod embedded;
pub mod error;
pub mod etcd;
pub mod exclusive;
pub mod folder;
pub mod kubeconfig;
pub mod port;
pub mod process;
pub mod proxy;
pub mod replica;
pub mod wallclock;

pub use error::HarnessError;
