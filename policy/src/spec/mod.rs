//! The OCI runtime specification as a JSON tree: its fields, and reading and editing them.
//!
//! The tree is edited as JSON, never through typed structures: a typed round trip drops fields that
//! the types do not know, and a security floor must not lose what it does not understand.

pub mod edit;
pub mod table;
pub mod view;
