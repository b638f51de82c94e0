//! The launch plan: what the launcher does in the last instant before the workload's `execve`.
//!
//! The wrapper encodes it on the host; the launcher decodes it inside the container and trusts
//! nothing but these bytes, so every count is bounded before it is believed. The encoding is
//! canonical: one plan has one encoding, and what decodes encodes to the same bytes.
//!
//! All integers are little-endian. A plan is the magic `COAMINIT`, the version (u32), the number of
//! layers (u32) with each layer, and the number of filters (u32) with each filter. Version 2 is version 1 with
//! denials logged; a launcher that does not know it is never given it, since it is bound into a container
//! together with its first plan, and an exec asks for logs only where that plan did:
//!
//! ```text
//! layer  = handled_fs u64, handled_net u64, scoped u64,
//!          paths u32, (access u64, length u32, bytes)*,
//!          ports u32, (access u64, port u16)*
//! filter = flags u32, instructions u32, (code u16, jt u8, jf u8, k u32)*
//! ```

mod wire;

use wire::{Reader, Writer};

/// First bytes of every plan.
pub const MAGIC: [u8; 8] = *b"COAMINIT";
/// The version of a plan that logs nothing.
pub const VERSION: u32 = 1;
/// The version of a plan whose Landlock layers log what they deny.
pub const VERSION_LOGGING: u32 = 2;
/// Landlock refuses a seventeenth layer (`LANDLOCK_MAX_NUM_LAYERS`, kernel `security/landlock/limits.h`).
pub const MAX_LAYERS: usize = 16;
/// Path and port rules of one layer, together: what sixteen policies say may be one layer.
pub const MAX_RULES: usize = 16 * 1024;
/// `PATH_MAX` without its terminating NUL.
pub const MAX_PATH: usize = 4095;
/// Filters of one plan.
pub const MAX_FILTERS: usize = 8;
/// `BPF_MAXINSNS`, what the kernel takes for one filter.
pub const MAX_INSTRUCTIONS: usize = 4096;
/// Size of an encoded plan, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// Everything the launcher does: the Landlock layers in order, then the seccomp filters in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One Landlock ruleset each, applied in order.
    pub layers: Vec<Layer>,
    /// Loaded last, in order.
    pub filters: Vec<Filter>,
    /// Whether the kernel logs what the layers deny, where it can (Landlock ABI 7). Each filter has its own
    /// flag for it.
    pub log_denials: bool,
}

/// One Landlock ruleset, in the raw bits of `linux/landlock.h`.
///
/// Raw, so that a right newer than any library's names can be asked for. Every handled right is a
/// hard requirement: a kernel that does not know one of them does not start the workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// `handled_access_fs`.
    pub handled_fs: u64,
    /// `handled_access_net`.
    pub handled_net: u64,
    /// `scoped`.
    pub scoped: u64,
    /// What stays allowed beneath a path.
    pub paths: Vec<PathRule>,
    /// What stays allowed on a TCP port.
    pub ports: Vec<PortRule>,
}

/// Rights that stay allowed on a file, or beneath a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// Some of the layer's `handled_fs`.
    pub access: u64,
    /// Absolute, without NUL. A path that does not exist is skipped: that only tightens.
    pub path: Vec<u8>,
}

/// Rights that stay allowed on a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRule {
    /// Some of the layer's `handled_net`.
    pub access: u64,
    /// In host byte order. Zero is the kernel's own choice of an ephemeral port.
    pub port: u16,
}

/// One seccomp filter, for `SECCOMP_SET_MODE_FILTER` of seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// The classic BPF program; the kernel verifies it.
    pub instructions: Vec<Instruction>,
}

/// `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the test holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Why bytes are not a plan, or a plan cannot be bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The bytes begin with something else.
    #[error("launch plan: it does not begin with the magic of a plan")]
    Magic,
    /// Written by another generation of the project.
    #[error("launch plan: version {0} is not known, only {VERSION} and {VERSION_LOGGING} are")]
    Version(u32),
    /// The bytes end inside the named part.
    #[error("launch plan: it ends inside {0}")]
    Truncated(&'static str),
    /// Bytes follow the last filter.
    #[error("launch plan: {0} bytes follow its end")]
    Trailing(usize),
    /// A bound of the format is passed.
    #[error("launch plan: {count} {what}, at most {limit} are possible")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: usize,
        /// How much there may be.
        limit: usize,
    },
    /// A ruleset without any right restricts nothing, and the kernel refuses it (`ENOMSG`).
    #[error("launch plan: layer {0} handles no right")]
    NothingHandled(usize),
    /// A rule's path is relative, empty, too long, or holds a NUL.
    #[error("launch plan: layer {0} has a path that is not absolute, too long, or holds a NUL")]
    Path(usize),
    /// A rule allows nothing (`ENOMSG`), or a right its layer does not handle (`EINVAL`).
    #[error(
        "launch plan: layer {layer} has a rule with access {access:#x}, which is not some of the {handled:#x} it handles"
    )]
    Access {
        /// Index of the layer.
        layer: usize,
        /// The rule's rights.
        access: u64,
        /// The layer's rights.
        handled: u64,
    },
    /// The kernel refuses a filter without instructions.
    #[error("launch plan: filter {0} has no instructions")]
    EmptyFilter(usize),
}

impl Plan {
    /// Whether the launcher has nothing to do but `execve`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.filters.is_empty()
    }

    /// The bytes of this plan.
    ///
    /// # Errors
    /// When the plan passes a bound of the format or holds what the kernel would refuse anyway.
    pub fn encode(&self) -> Result<Vec<u8>, PlanError> {
        self.check()?;
        let mut out = Writer::default();
        out.bytes(&MAGIC);
        out.u32(if self.log_denials { VERSION_LOGGING } else { VERSION });
        out.count(self.layers.len(), "layers")?;
        for layer in &self.layers {
            layer.encode(&mut out)?;
        }
        out.count(self.filters.len(), "filters")?;
        for filter in &self.filters {
            filter.encode(&mut out)?;
        }
        let bytes = out.finish();
        at_most("bytes", bytes.len(), MAX_SIZE)?;
        Ok(bytes)
    }

    /// The plan that these bytes, all of them, are.
    ///
    /// # Errors
    /// When they are not exactly one valid plan.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        at_most("bytes", bytes.len(), MAX_SIZE)?;
        let mut input = Reader::new(bytes);
        if input.take(MAGIC.len(), "the magic").map_err(|_| PlanError::Magic)? != MAGIC {
            return Err(PlanError::Magic);
        }
        let log_denials = match input.u32("the version")? {
            VERSION => false,
            VERSION_LOGGING => true,
            version => return Err(PlanError::Version(version)),
        };
        let layers = input.list("layers", MAX_LAYERS, Layer::decode)?;
        let filters = input.list("filters", MAX_FILTERS, Filter::decode)?;
        if input.remaining() != 0 {
            return Err(PlanError::Trailing(input.remaining()));
        }
        let plan = Self { layers, filters, log_denials };
        plan.check()?;
        Ok(plan)
    }

    /// The same judgement on the way out and on the way in.
    fn check(&self) -> Result<(), PlanError> {
        at_most("layers", self.layers.len(), MAX_LAYERS)?;
        for (index, layer) in self.layers.iter().enumerate() {
            layer.check(index)?;
        }
        at_most("filters", self.filters.len(), MAX_FILTERS)?;
        for (index, filter) in self.filters.iter().enumerate() {
            at_most("instructions in a filter", filter.instructions.len(), MAX_INSTRUCTIONS)?;
            if filter.instructions.is_empty() {
                return Err(PlanError::EmptyFilter(index));
            }
        }
        Ok(())
    }
}

impl Layer {
    fn check(&self, layer: usize) -> Result<(), PlanError> {
        if self.handled_fs == 0 && self.handled_net == 0 && self.scoped == 0 {
            return Err(PlanError::NothingHandled(layer));
        }
        at_most("rules in a layer", self.paths.len().saturating_add(self.ports.len()), MAX_RULES)?;
        for rule in &self.paths {
            let path = &rule.path;
            if path.first() != Some(&b'/') || path.len() > MAX_PATH || path.contains(&0) {
                return Err(PlanError::Path(layer));
            }
            some_of(layer, rule.access, self.handled_fs)?;
        }
        for rule in &self.ports {
            some_of(layer, rule.access, self.handled_net)?;
        }
        Ok(())
    }

    fn encode(&self, out: &mut Writer) -> Result<(), PlanError> {
        out.u64(self.handled_fs);
        out.u64(self.handled_net);
        out.u64(self.scoped);
        out.count(self.paths.len(), "path rules")?;
        for rule in &self.paths {
            out.u64(rule.access);
            out.count(rule.path.len(), "bytes in a path")?;
            out.bytes(&rule.path);
        }
        out.count(self.ports.len(), "port rules")?;
        for rule in &self.ports {
            out.u64(rule.access);
            out.u16(rule.port);
        }
        Ok(())
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, PlanError> {
        Ok(Self {
            handled_fs: input.u64("a layer")?,
            handled_net: input.u64("a layer")?,
            scoped: input.u64("a layer")?,
            paths: input.list("path rules", MAX_RULES, |input| {
                let access = input.u64("a path rule")?;
                let length = input.count("bytes in a path", MAX_PATH)?;
                Ok(PathRule { access, path: input.take(length, "a path")?.to_vec() })
            })?,
            ports: input.list("port rules", MAX_RULES, |input| {
                Ok(PortRule { access: input.u64("a port rule")?, port: input.u16("a port rule")? })
            })?,
        })
    }
}

impl Filter {
    fn encode(&self, out: &mut Writer) -> Result<(), PlanError> {
        out.u32(self.flags);
        out.count(self.instructions.len(), "instructions")?;
        for instruction in &self.instructions {
            out.u16(instruction.code);
            out.bytes(&[instruction.jt, instruction.jf]);
            out.u32(instruction.k);
        }
        Ok(())
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, PlanError> {
        Ok(Self {
            flags: input.u32("a filter")?,
            instructions: input.list("instructions", MAX_INSTRUCTIONS, |input| {
                Ok(Instruction {
                    code: input.u16("an instruction")?,
                    jt: input.u8("an instruction")?,
                    jf: input.u8("an instruction")?,
                    k: input.u32("an instruction")?,
                })
            })?,
        })
    }
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), PlanError> {
    if count > limit { Err(PlanError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn some_of(layer: usize, access: u64, handled: u64) -> Result<(), PlanError> {
    if access == 0 || access & !handled != 0 {
        Err(PlanError::Access { layer, access, handled })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
