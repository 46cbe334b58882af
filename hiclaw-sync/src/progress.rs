//! Progress bars on a terminal.
//!
//! One bar: listing first, then bytes. Drawn on standard error, so that results can be piped.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use sync_core::{
    path::RelPath,
    progress::{Progress, Silent},
};

use crate::settings::{GlobalOptions, ProgressMode};

/// A short pass ends before anything is drawn.
const FIRST_DRAW: Duration = Duration::from_millis(120);

/// The progress that the options ask for.
#[must_use]
pub fn start(options: &GlobalOptions) -> Arc<dyn Progress> {
    let wanted = match options.progress {
        ProgressMode::Always => true,
        ProgressMode::Never => false,
        ProgressMode::Auto => std::io::stderr().is_terminal() && !options.quiet,
    };
    if !wanted {
        return Arc::new(Silent);
    }
    let bar = ProgressBar::new_spinner().with_message("looking at both sides");
    bar.enable_steady_tick(FIRST_DRAW);
    Arc::new(Bar { bar })
}

struct Bar {
    bar: ProgressBar,
}

impl Progress for Bar {
    fn listing(&self, objects: u64) {
        self.bar.set_message(format!("{objects} objects listed"));
    }

    fn planned(&self, files: u64, bytes: u64) {
        let style = ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}",
        );
        match style {
            Ok(style) => self.bar.set_style(style),
            Err(error) => tracing::debug!(%error, "the bar's template is broken"),
        }
        self.bar.inc_length(bytes);
        self.bar.set_message(format!("{files} files"));
    }

    fn bytes(&self, count: u64) {
        self.bar.inc(count);
    }

    fn file_done(&self, path: &RelPath) {
        self.bar.set_message(path.to_string());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
