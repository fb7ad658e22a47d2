//! Message templates: fetched from WhatsApp, held ready for those who send, checked, rendered, chosen.

pub mod book;
pub mod choice;
pub mod contract;
pub mod creation;
mod desk;
mod fault;
pub mod fitting;
pub mod render;
pub mod sync;

pub use book::TemplateBook;
pub use desk::{CreateError, TemplateDesk};
pub use fault::TemplateFault;
pub use sync::{SyncError, TemplateSync};
