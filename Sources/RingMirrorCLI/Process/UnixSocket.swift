import Glibc
import SystemPackage

/// A stream socket in the filesystem, which never blocks and is closed with the last reference.
///
/// A peer that has gone away makes an error and no signal.
final class UnixSocket: Sendable {
    /// For `poll`.
    let descriptor: CInt

    private init(_ descriptor: CInt) { self.descriptor = descriptor }

    deinit { _ = close(descriptor) }

    private static func make() throws(Errno) -> UnixSocket {
        let kind = CInt(
            SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
        return UnixSocket(descriptor)
    }

    // MARK: Both ends

    /// Listens at a path, which must not exist. Only the owner may connect.
    static func listening(at path: FilePath, backlog: CInt) throws(Errno) -> UnixSocket {
        let made = try make()
        // What the socket has is what the file gets: the umask belongs to all threads.
        guard fchmod(made.descriptor, S_IRUSR | S_IWUSR) == 0 else {
            throw Errno(rawValue: errno)
        }
        let bound = try unsafe withAddress(path) { address, length in
            unsafe bind(
                made.descriptor, __CONST_SOCKADDR_ARG(__sockaddr_un__: address), length)
        }
        guard bound == 0, listen(made.descriptor, backlog) == 0 else {
            throw Errno(rawValue: errno)
        }
        return made
    }

    /// Connects at once or not at all.
    static func connected(to path: FilePath) throws(Errno) -> UnixSocket {
        let made = try make()
        let result = try unsafe withAddress(path) { address, length in
            unsafe connect(
                made.descriptor, __CONST_SOCKADDR_ARG(__sockaddr_un__: address), length)
        }
        guard result == 0 else { throw Errno(rawValue: errno) }
        return made
    }

    private static func withAddress(
        _ path: FilePath, _ body: (UnsafePointer<sockaddr_un>, socklen_t) -> CInt
    ) throws(Errno) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = unsafe path.withPlatformString { start in
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { place in
                let count = unsafe strlen(start)
                guard count < place.count else { return false }
                unsafe place.copyMemory(
                    from: UnsafeRawBufferPointer(start: start, count: count))
                return true
            }
        }
        guard fits else { throw Errno.fileNameTooLong }
        return unsafe withUnsafePointer(to: &address) {
            unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }

    // MARK: A listening socket

    /// The next client; nil if there is none now.
    func accept() -> UnixSocket? {
        let flags = CInt(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = unsafe accept4(self.descriptor, __SOCKADDR_ARG(), nil, flags)
        return descriptor < 0 ? nil : UnixSocket(descriptor)
    }

    /// Takes no clients any more, and wakes a thread that waits for one.
    func stopListening() { _ = shutdown(descriptor, CInt(SHUT_RDWR)) }

    // MARK: A connected socket

    /// The user that the other end belonged to when it was made; nil if that is not known.
    var peer: uid_t? {
        var credentials = ucred()
        var length = socklen_t(MemoryLayout<ucred>.size)
        let code = unsafe getsockopt(
            descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length)
        return code == 0 ? credentials.uid : nil
    }

    enum Received {
        case bytes([UInt8])
        /// There is nothing now.
        case nothing
        /// The other end sends nothing any more.
        case end
        /// The other end is gone.
        case broken
    }

    func receive(atMost limit: Int = 4096) -> Received {
        var bytes = [UInt8](repeating: 0, count: limit)
        while true {
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
            }
            let code = errno
            if count > 0 { return .bytes(Array(bytes.prefix(count))) }
            if count == 0 { return .end }
            if code == EINTR { continue }
            return code == EAGAIN || code == EWOULDBLOCK ? .nothing : .broken
        }
    }

    /// How many bytes were taken now; nil if none ever will be.
    func send(_ bytes: ArraySlice<UInt8>) -> Int? {
        while true {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            let code = errno
            if count >= 0 { return count }
            if code == EINTR { continue }
            return code == EAGAIN || code == EWOULDBLOCK || code == ENOBUFS ? 0 : nil
        }
    }
}

/// What sockets are waited for.
struct SocketWait {
    private var entries: [pollfd] = []

    /// - Parameters:
    ///   - reading: bytes or a client have come, or the other end has closed.
    ///   - writing: bytes would be taken.
    mutating func add(_ socket: UnixSocket, reading: Bool, writing: Bool = false) {
        let events = (reading ? POLLIN : 0) | (writing ? POLLOUT : 0)
        entries.append(pollfd(fd: socket.descriptor, events: Int16(events), revents: 0))
    }

    /// Waits until one of the sockets is ready or the time is over.
    mutating func wait(milliseconds: Int) {
        let limit = CInt(min(max(milliseconds, 0), 1_000_000))
        let count = unsafe entries.withUnsafeMutableBufferPointer { buffer in
            unsafe poll(buffer.baseAddress, nfds_t(buffer.count), limit)
        }
        // An interrupted wait has left what was there before it.
        if count < 0 { for index in entries.indices { entries[index].revents = 0 } }
    }

    /// Whether something came for the socket that was added as the `index`-th.
    func isReady(_ index: Int) -> Bool { entries[index].revents != 0 }

    /// Whether the other end of that socket is gone.
    func isClosed(_ index: Int) -> Bool {
        entries[index].revents & Int16(POLLHUP | POLLERR) != 0
    }
}
