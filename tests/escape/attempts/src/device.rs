//! A process of the device, with what attempts reach for: it is the victim of all of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use crate::sys::{Arg, call};
use crate::{End, Told, Tried};

/// Removes a segment of shared memory.
const IPC_RMID: i64 = 0;

/// Makes all of it, prints it as `KEY=VALUE`, and holds it until its input ends. Its directory is the secret one.
pub(crate) fn hold(told: &Told) -> Tried {
    let name = told.text("name")?;
    std::env::set_current_dir(told.text("secret")?)?;
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    let service = TcpListener::bind("127.0.0.1:0")?;
    let queue = std::ffi::CString::new(name).map_err(|_| End::Wrong("a NUL".into()))?;
    let flags = i64::from(libc::O_CREAT | libc::O_EXCL | libc::O_RDWR);
    call(libc::SYS_mq_open, [Arg::S(&queue), Arg::N(flags), Arg::N(0o600), Arg::N(0)])?;
    let key = i64::from(std::process::id()) | 0x4341_0000;
    let segment = call(libc::SYS_shmget, [Arg::N(key), Arg::N(4096), Arg::N(0o3600)])?;
    let (_ends, terminal) = terminal()?;
    let heard = format!("heard-{name}");
    let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let (word, address) = (heard.clone(), to.local_addr()?);
    std::thread::spawn(move || {
        while from.send_to(word.as_bytes(), address).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    println!(
        "victim={} abstract={name} service={} queue={name} shm={key} terminal={terminal} heard={heard}",
        std::process::id(),
        service.local_addr()?
    );
    std::io::stdout().flush()?;
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    let _ = call(libc::SYS_mq_unlink, [Arg::S(&queue)]);
    let _ = call(libc::SYS_shmctl, [Arg::N(segment), Arg::N(IPC_RMID), Arg::N(0)]);
    drop(to);
    Ok(())
}

/// Both ends of a terminal of the device, and the path of the one.
fn terminal() -> Result<([std::fs::File; 1], String), End> {
    const UNLOCK: i64 = 0x4004_5431;
    const NUMBER: i64 = 0x8004_5430;
    let master = std::fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx")?;
    let fd = i64::from(master.as_raw_fd());
    call(libc::SYS_ioctl, [Arg::N(fd), Arg::N(UNLOCK), Arg::R(&[0; 4])])?;
    let mut number = [0; 4];
    call(libc::SYS_ioctl, [Arg::N(fd), Arg::N(NUMBER), Arg::W(&mut number)])?;
    Ok(([master], format!("/dev/pts/{}", u32::from_ne_bytes(number))))
}
