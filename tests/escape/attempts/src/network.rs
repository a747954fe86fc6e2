//! Sockets: services of the device, families that reach past it, and what only an administrator may say.

use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use crate::sys::{Arg, call};
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("abstract-socket", |told| {
        let name = SocketAddr::from_abstract_name(told.text("abstract")?)?;
        Ok(UnixStream::connect_addr(&name).map(drop)?)
    }),
    ("loopback-service", |told| Ok(TcpStream::connect(told.text("service")?).map(drop)?)),
    ("capture-of-device", capture),
    ("vsock", |_| socket(libc::AF_VSOCK.into())),
    ("vsock-in-full-register", |_| socket(i64::from(libc::AF_VSOCK) | 1 << 40)),
    ("kernel-cryptography", |_| Ok(call(libc::SYS_socket, [Arg::N(38), Arg::N(5), Arg::N(0)]).map(drop)?)),
    ("link-flags", link_flags),
    ("firewall", firewall),
];

fn socket(family: i64) -> Tried {
    Ok(call(libc::SYS_socket, [Arg::N(family), Arg::N(libc::SOCK_STREAM.into()), Arg::N(0)]).map(drop)?)
}

/// What goes over the loopback of the device, where somebody sends a word for ever.
fn capture(told: &Told) -> Tried {
    let word = told.text("heard")?.as_bytes();
    let all = i64::from(u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be());
    let fd = call(libc::SYS_socket, [Arg::N(libc::AF_PACKET.into()), Arg::N(libc::SOCK_DGRAM.into()), Arg::N(all)])?;
    let mut bytes = [0; 2048];
    let time = [0_i64.to_ne_bytes(), 100_000_i64.to_ne_bytes()];
    // SO_RCVTIMEO
    let args = [Arg::N(fd), Arg::N(1), Arg::N(20), Arg::R(time.as_flattened()), Arg::N(16)];
    call(libc::SYS_setsockopt, args)?;
    for _ in 0..64 {
        match call(libc::SYS_read, [Arg::N(fd), Arg::W(&mut bytes), Arg::N(2048)]) {
            Ok(_) if bytes.windows(word.len()).any(|part| part == word) => return Ok(()),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Err(End::Nothing("nothing of the device is heard".into()))
}

/// Of the loopback, to what they are.
fn link_flags(_: &Told) -> Tried {
    const GET: i64 = 0x8913;
    const SET: i64 = 0x8914;
    let fd = call(libc::SYS_socket, [Arg::N(libc::AF_INET.into()), Arg::N(libc::SOCK_DGRAM.into()), Arg::N(0)])?;
    let mut request = [0; 40];
    request.iter_mut().zip(b"lo").for_each(|(to, from)| *to = *from);
    call(libc::SYS_ioctl, [Arg::N(fd), Arg::N(GET), Arg::W(&mut request)])?;
    Ok(call(libc::SYS_ioctl, [Arg::N(fd), Arg::N(SET), Arg::W(&mut request)]).map(drop)?)
}

/// Asks the packet filter which generation its rules are of: it answers nobody but an administrator.
fn firewall(_: &Told) -> Tried {
    // nlmsghdr (length, NFT_MSG_GETGEN of nftables, request, sequence, port), nfgenmsg
    let mut message = Vec::new();
    message.extend(20_u32.to_ne_bytes());
    message.extend((10_u16 << 8 | 16).to_ne_bytes());
    message.extend(1_u16.to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let fd = call(libc::SYS_socket, [Arg::N(libc::AF_NETLINK.into()), Arg::N(libc::SOCK_RAW.into()), Arg::N(12)])?;
    call(libc::SYS_write, [Arg::N(fd), Arg::R(&message), Arg::N(20)])?;
    let mut answer = [0; 256];
    call(libc::SYS_read, [Arg::N(fd), Arg::W(&mut answer), Arg::N(256)])?;
    // NLMSG_ERROR, and its number after the head.
    let word = |at: usize| answer.get(at..at + 4).and_then(|word| word.try_into().ok()).map(i32::from_ne_bytes);
    match (answer.get(4..6), word(16)) {
        (Some([2, 0]), Some(errno)) if errno == -libc::EOPNOTSUPP || errno == -libc::EINVAL => {
            Err(End::Absent("no packet filter in this kernel".into()))
        }
        (Some([2, 0]), Some(errno)) if errno < 0 => Err((-errno).into()),
        _ => Ok(()),
    }
}
