//! The gate, door by door: what callers of the runtime ask for, what becomes of it, and that a refusal changes nothing.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod additions;
mod changed_policy;
mod configuration;
mod denials;
mod emergency;
mod exec;
mod exec_rules;
mod hook_test;
mod hooks;
mod hostile_bundle;
mod journal;
mod kernel_log;
mod kubernetes;
mod lifecycle;
mod node_floor;
mod nri;
mod pod_labels;
mod policy_life;
mod preload;
mod proof;
mod reload;
mod runtime_versions;
mod same_verdict;
mod selection;
mod setup;
mod subpath;
mod trials;
mod unwrapped;
mod validator;
mod verbs;
mod verified;
mod waivers;
