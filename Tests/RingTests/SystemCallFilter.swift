import Glibc

/// Makes one system call fail for the calling thread, from now until it ends, as a container's
/// seccomp profile does.
enum SystemCallFilter {
    // The same on all architectures that matter, as for all calls since 2019.
    static let ioUringSetup: UInt32 = 425
    static let ioUringEnter: UInt32 = 426
    static let ioUringRegister: UInt32 = 427
    #if arch(x86_64)
        static let mmap: UInt32 = 9
    #else
        static let mmap: UInt32 = 222
    #endif

    private struct Instruction {
        var code: UInt16
        var ifTrue: UInt8 = 0
        var ifFalse: UInt8 = 0
        var value: UInt32
    }

    private struct Program {
        var length: UInt16
        var instructions: UnsafePointer<Instruction>
    }

    /// Returns false where a filter can't be had. With `secondArgument` only calls with that one
    /// fail, or rather with its low half.
    static func fail(_ call: UInt32, with code: CInt, secondArgument: UInt32? = nil) -> Bool {
        let numberOffset: UInt32 = 0
        let secondArgumentOffset: UInt32 = 24
        var instructions: [Instruction] = []
        for (offset, value) in [(numberOffset, call), (secondArgumentOffset, secondArgument)] {
            guard let value else { continue }
            instructions += [
                Instruction(code: 0x20, value: offset),  // load a word of seccomp_data
                Instruction(code: 0x15, ifTrue: 1, value: value),  // if it is this, skip one
                Instruction(code: 0x06, value: 0x7FFF_0000),  // SECCOMP_RET_ALLOW
            ]
        }
        let refuse = 0x0005_0000 | UInt32(code)  // SECCOMP_RET_ERRNO
        instructions.append(Instruction(code: 0x06, value: refuse))
        // Swift does not import functions of variable arguments.
        typealias Control = @convention(c) (CInt, UInt, UInt, UInt, UInt) -> CInt
        guard let symbol = dlsym(nil, "prctl") else { return false }
        let prctl = unsafeBitCast(symbol, to: Control.self)
        let noNewPrivileges: CInt = 38
        let setSeccomp: CInt = 22
        guard prctl(noNewPrivileges, 1, 0, 0, 0) == 0 else { return false }
        return instructions.withUnsafeBufferPointer { buffer in
            let program = Program(length: UInt16(buffer.count), instructions: buffer.baseAddress!)
            return withUnsafePointer(to: program) {
                prctl(setSeccomp, 2, UInt(bitPattern: $0), 0, 0) == 0
            }
        }
    }
}
