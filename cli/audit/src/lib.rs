//! The kernel's audit records, read strictly, and the denials that they tell of.
//!
//! What is read here was partly written by the confined: the names of programs and files are theirs to choose.
//! The kernel writes such a name in hexadecimal where it holds a space, a quote or a byte that is not
//! printable (kernel/audit.c, `audit_log_n_untrustedstring`), so that no name can look like another field. Every
//! length is bounded, and what is not understood is no record.
//!
//! Nothing is decided here, and nothing looked up.

mod denial;
mod event;
mod field;
mod line;
mod record;

pub use denial::{Answer, Denial, Subject};
pub use event::{Assembler, Event};
pub use line::{from_file, from_kmsg, from_netlink};
pub use record::{Kind, Record, Stamp};
