//! The two runtimes whose behaviour is modelled.

/// Whose behaviour a request would have met. Other runtimes that follow runc's
/// command line count as runc; what is known to differ is refused where it matters (`launch.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// opencontainers/runc, 1.1 on.
    Runc,
    /// containers/crun, 1.8 on.
    Crun,
}

impl Family {
    /// The family of a runtime, by the name of its binary: crun and what is linked to it tell their
    /// handlers apart by that name too (crun src/crun.c).
    pub fn of(runtime: &std::path::Path) -> Family {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("crun") || name == "krun" { Family::Crun } else { Family::Runc }
    }
}
