import Foundation
import Glibc
import TestSupport
import Testing

/// A client of a job's control socket that is not ours.
final class ControlSocket {
    private let descriptor: CInt
    private var bytes: [UInt8] = []

    /// Nil if nobody lets it in.
    init?(_ path: String) {
        descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var time = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let code = withUnsafePointer(to: &address) {
            connect(
                descriptor, __CONST_SOCKADDR_ARG(__sockaddr_un__: $0),
                socklen_t(MemoryLayout<sockaddr_un>.size))
        }
        guard code == 0 else { return nil }
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
    }

    /// The next line; nil at the end of the stream, and when none comes.
    func line() -> Event? {
        while true {
            if let newline = bytes.firstIndex(of: 10) {
                let line = String(decoding: bytes[..<newline], as: UTF8.self)
                bytes.removeFirst(newline + 1)
                let event = Event(line)
                if event == nil { Issue.record("not a JSON object: \(line)") }
                return event
            }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes += buffer.prefix(count)
        }
    }

    /// All lines that come until the end.
    func rest() -> [Event] {
        var lines: [Event] = []
        while let line = line() { lines.append(line) }
        return lines
    }

    func ask(_ text: String) -> Event? {
        send(text + "\n")
        return line()
    }
}
