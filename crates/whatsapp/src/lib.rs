#![doc = include_str!("../README.md")]

pub mod client;
pub mod error;
pub mod identity;
mod json;
pub mod message;
pub mod signature;
pub mod webhook;

pub use client::{Accepted, Client, ClientConfig, SendError};
pub use error::{ApiError, ErrorFact, PauseScope, Verdict};
pub use identity::{Bsuid, GroupId, Identity, IdentityError, IdentityKind, IdentitySet, ParentBsuid, Phone, Recipient};
pub use message::{LimitError, OutboundContent, OutboundMessage, ReadReceipt};
pub use webhook::{Content, Event, InboundMessage, Sender, StatusUpdate, Webhook};
