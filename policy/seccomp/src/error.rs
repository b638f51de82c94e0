//! What can go wrong with a seccomp profile, and what to do about it.

/// An error of the seccomp library; each variant names the operation and the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// A profile file over the size limit.
    #[error("reading a seccomp profile: {size} bytes, the limit is {limit}; split or shorten it")]
    TooLarge {
        /// Size of what was given.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not the JSON of a profile: syntax, an unknown or a repeated field, a wrong type.
    #[error("reading a seccomp profile: {reason}")]
    Parse {
        /// What the JSON reader said, with line and column where it knows them.
        reason: String,
    },
    /// A field of the right type with a value that means nothing.
    #[error("seccomp profile, {place}: {problem}")]
    Value {
        /// The field, or the rule with its syscalls and argument index.
        place: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A syscall name that the linked libseccomp does not know, in a rule that would be dropped in silence.
    #[error(
        "seccomp rule {rule}: unknown syscall {name:?} in a rule that is stricter than the default: the \
         runtime would ignore it{hint}"
    )]
    UnknownSyscall {
        /// Index of the rule in `syscalls`.
        rule: usize,
        /// The name as written.
        name: String,
        /// A suggestion, or empty.
        hint: String,
    },
    /// Rules that runtimes and readers do not read alike; a policy must not contain them.
    #[error("seccomp rules for syscall {syscall}: {problem}")]
    Ambiguous {
        /// The syscall.
        syscall: String,
        /// Which rules, and how to write them.
        problem: String,
    },
    /// The exact function needs more patterns than are sensible.
    #[error(
        "seccomp: the rules for syscall {syscall} need more than {limit} argument patterns; use fewer or \
         simpler argument conditions (SCMP_CMP_EQ and SCMP_CMP_MASKED_EQ are cheapest)"
    )]
    TooComplex {
        /// The syscall.
        syscall: String,
        /// The limit that was passed.
        limit: usize,
    },
    /// The program is longer than the kernel takes (BPF_MAXINSNS).
    #[error(
        "seccomp: the compiled program has {count} instructions, the kernel takes {limit}; shorten the profile"
    )]
    TooLong {
        /// Instructions in the program.
        count: usize,
        /// The kernel's limit.
        limit: usize,
    },
    /// A feature of a profile that cannot be given here.
    #[error("seccomp: {what} is not supported: {why}")]
    Unsupported {
        /// The feature.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// libseccomp refused an operation.
    #[error("seccomp: libseccomp refused {operation}: {reason}")]
    Library {
        /// What was asked of it.
        operation: String,
        /// Its own words.
        reason: String,
    },
    /// Bytes that are not a program the kernel would take.
    #[error("seccomp: not a valid filter program: instruction {at}: {problem}")]
    Program {
        /// Index of the instruction.
        at: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The compiled program does not do what the profile says.
    #[error(
        "seccomp: the compiled program gives {got:?} where the profile says {want:?} ({syscall} on {arch}, arguments \
         {args:x?}); it will not be used; report this defect"
    )]
    Mismatch {
        /// The syscall, or its number.
        syscall: String,
        /// The architecture's OCI name.
        arch: &'static str,
        /// The arguments of the probe.
        args: [u64; 6],
        /// What the profile says.
        want: super::Action,
        /// The kernel return value that the program gives, decoded.
        got: Option<super::Action>,
    },
}

impl SeccompError {
    pub(super) fn value(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { place: place.into(), problem: problem.into() }
    }
}
