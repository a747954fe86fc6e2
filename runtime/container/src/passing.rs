//! A number and a descriptor, passed from process to process in one packet.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The two ends of a way.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Passes both.
pub(crate) fn pass(way: impl AsFd, number: i32, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(way, &[IoSlice::new(&number.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for both; `None` if the other end is gone.
pub(crate) fn take(way: impl AsFd) -> Result<Option<(i32, OwnedFd)>, Errno> {
    let mut number = [0; size_of::<i32>()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(&way, &mut [IoSliceMut::new(&mut number)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // The other end has gone with something unread.
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    match fd {
        Some(fd) if got.bytes == number.len() => Ok(Some((i32::from_ne_bytes(number), fd))),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_arrives_with_its_number_and_the_end_is_told() {
        let (one, other) = pair().unwrap();
        pass(&one, 7, one.as_fd()).unwrap();
        drop(one);
        let (number, fd) = take(&other).unwrap().unwrap();
        assert_eq!(number, 7);
        // It is the other end once more.
        pass(&fd, 8, fd.as_fd()).unwrap();
        assert_eq!(take(&other).unwrap().map(|(number, _)| number), Some(8));
        drop(fd);
        assert!(take(&other).unwrap().is_none());
    }
}
