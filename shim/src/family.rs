//! The two runtimes whose behaviour is modelled.

/// Whose behaviour a request would have met. youki and other runtimes that follow runc's
/// command line count as runc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// opencontainers/runc, 1.1 on.
    Runc,
    /// containers/crun, 1.8 on.
    Crun,
}
