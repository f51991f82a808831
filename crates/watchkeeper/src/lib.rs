//! Watchkeeper: an informer runtime for Kubernetes controllers.
//!
//! The front door of the workspace. An object's way through it, one stage a file:
//!
//! ```text
//! list-watch → reflector → DeltaFIFO → store + indexes → handlers → work queue → gate → worker → your reconciler
//! └────────────────── informer ──────────────────────┘  └ workqueue ┘ └leader┘ └──────── here ─────────┘
//! ```
//!
//! A [`Controller`] binds a [`Reconciler`] to a [`informer::SharedInformer`]; a [`Manager`] runs informers all the time and controllers
//! only while this process holds a Lease, so that at most one replica acts at a time, however many are started.
#![forbid(unsafe_code)]

mod client;
mod connection;
mod controller;
mod hard_stop;
mod health;
mod informers;
mod keys;
mod manager;
mod office;
mod reconcile;
pub mod shutdown;
mod source;
mod worker;

pub use client::GatedClient;
pub use connection::{Connection, ConnectionError, Transport, TransportBody};
pub use controller::{Controller, Gating};
pub use hard_stop::HardStop;
pub use health::HealthPolicy;
pub use informers::{Heard, Informers, Informs};
pub use keys::Keys;
pub use manager::{ElectorOn, Leadership, Manager, ManagerConfig, ManagerError};
pub use reconcile::{Action, Failure, Reconciler, Request};

pub use watchkeeper_informer as informer;
pub use watchkeeper_leader as leader;
pub use watchkeeper_workqueue as workqueue;

/// Any error that can cross threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The README's operator compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
