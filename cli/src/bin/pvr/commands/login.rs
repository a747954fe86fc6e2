//! `pvr login`, `pvr logout`

use std::env;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use cli::http::{Server, Tokens};
use cli::remote::login::{login, logout, name_of};
use cli::{Error, Result};

use crate::commands::Keys;
use crate::commands::network::{Network, address};
use crate::progress::Bar;
use crate::term::{Done, note, warn};

/// Pair with a device, so that it lets us in
///
/// A device that is open to the network wants to know who asks. `pvcontrol pair` on the device prints a code of eight
/// characters; this command says it to the device and keeps the token that it gets for it, for this device and in this
/// configuration directory only. All other commands then use it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  pvr login 10.0.0.5                      asks for the code
  pvr login 10.0.0.5 --code ABCD2345      for scripts
  pvr logout 10.0.0.5                     forgets the token, here and on the device")]
pub(crate) struct LoginArgs {
    /// A device
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// What `pvcontrol pair` has printed [default: you are asked]
    #[arg(long)]
    code: Option<String>,
    /// What the device's list calls us [default: your name at this host]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    network: Network,
}

/// Give a pairing up: forget its token, here and on the device
#[derive(clap::Args, Debug)]
pub(crate) struct LogoutArgs {
    /// A device
    #[arg(value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &LoginArgs, keys: &Keys) -> Done {
    let (address, client) = (address(&args.address, keys)?, args.network.stranger(keys)?);
    let tokens = Tokens::of(&keys.directory()?);
    let name = args.name.clone().unwrap_or_else(|| {
        let user = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_default();
        name_of(&user, &rustix::system::uname().nodename().to_string_lossy())
    });
    let mut code = |server: &Server| args.code.clone().map_or_else(|| ask(server), Ok);
    let paired = login(&client, &tokens, &address, &name, &mut code, &Bar::default())?;
    note(format_args!("paired with {} as {name} ({})", paired.server, paired.fingerprint));
    Ok(())
}

pub(crate) fn logout_run(args: &LogoutArgs, keys: &Keys) -> Done {
    let (address, client) = (address(&args.address, keys)?, args.network.stranger(keys)?);
    let parted = logout(&client, &Tokens::of(&keys.directory()?), &address, &Bar::default())?;
    match parted.left {
        None => note(format_args!("no longer paired with {}", parted.server)),
        Some(why) => {
            note(format_args!("the token for {} is forgotten here", parted.server));
            warn(format_args!(
                "the device still lets it in: {why}; on the device: pvcontrol pair rm {}",
                parted.fingerprint.as_deref().unwrap_or("FINGERPRINT")
            ));
        }
    }
    Ok(())
}

/// Asks the person for the code.
fn ask(server: &Server) -> Result<String> {
    let (input, mut terminal) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !terminal.is_terminal() {
        return Err(
            Error::user("there is nobody to be asked for the code").hint("--code CODE, as `pvcontrol pair` prints it")
        );
    }
    let cannot = |error: io::Error| Error::user(format!("the code cannot be read: {error}"));
    write!(terminal, "`pvcontrol pair` on {server} prints a code: ").and_then(|()| terminal.flush()).map_err(cannot)?;
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(cannot)?;
    Ok(line)
}
