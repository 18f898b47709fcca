//! The words of the command line.

use crate::{ctl, examine, supervise};
use clap::{Parser, Subcommand};
use std::error::Error;

/// Runs Python WSGI applications for Apache httpd.
#[derive(Parser)]
#[command(name = "rustgi", version)]
pub struct Line {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Run the workers of daemon process groups. The server starts this itself.
    Supervise,
    /// Find out which Pythons can be run. httpd and the supervisor start this.
    Examine {
        /// Examine one Python, as the user of its process group.
        #[arg(long)]
        one: bool,
    },
    /// Ask a running server about its daemon process groups.
    Ctl {
        #[command(flatten)]
        place: ctl::Place,
        #[command(subcommand)]
        ask: ctl::Word,
    },
}

impl Line {
    /// Does what the line says.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self.word {
            Word::Supervise => Ok(supervise::run()?),
            Word::Ctl { place, ask } => ctl::run(&place, ask),
            Word::Examine { one: false } => Ok(examine::examine_all()?),
            Word::Examine { one: true } => Ok(examine::examine_one()?),
        }
    }
}
