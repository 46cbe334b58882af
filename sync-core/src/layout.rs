//! What a runtime's tree looks like: which directory belongs to which prefix, who owns what, how the runtime is
//! prepared, started, probed and reloaded.
//!
//! A layout is TOML. Its life: a text becomes a [`Layout`] (as written, every mistake with line and column), a
//! [`LayoutSet`] puts it onto the layout that it extends, and [`Variables`] turn it into a [`ResolvedLayout`], which is
//! all that the other modules see. Owns the schema, its rules of inheritance and the meaning of path patterns. Never
//! reads files, the environment or a clock: texts and values are handed in.

mod carry;
mod glob;
mod inherit;
mod mistake;
mod read;
mod reader;
mod resolved;
mod rules;
mod runtime;
mod set;
mod show;
mod step;
mod team;
mod tree;
mod unit;
mod variables;

pub use self::{
    carry::Carry,
    glob::{Glob, GlobError},
    mistake::{LayoutError, Mistake},
    resolved::{Mount, ResolvedLayout},
    rules::{Deletes, Executable, Rule, Rules, SyncMode},
    runtime::{
        FileText, ReadyCheck, ReadyProbe, Reload, ReloadAction, ReloadSignal, Restart, RuntimeSpec,
    },
    set::{EMBEDDED, Layout, LayoutSet},
    step::{Need, PullStep, RunStep, Step},
    team::{Team, TeamRole, team_from_agents_md},
    unit::ReloadUnit,
    variables::{StoreKeys, Variable, Variables},
};
