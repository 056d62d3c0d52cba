internal import CLiburing

/// What a submission entry says, in the kernel's terms. What an operation has no use for stays 0.
package struct RingEntry: Sendable, Equatable {
    /// The kernel's number for what is to be done.
    package var operation: UInt8
    /// A descriptor, or a position among the registered files; -1 for none.
    package var file: Int32
    /// Whether `file` is a position.
    package var isRegisteredFile = false
    /// The byte in the file. The lower half is a command's own number.
    package var offset: UInt64 = 0
    /// Of memory, mostly; it must stay until the completion was taken.
    package var address: UInt64 = 0
    /// Bytes, mostly.
    package var length: UInt32 = 0
    /// What each operation calls its flags, events or advice.
    package var options: UInt32 = 0

    /// An entry for an operation that needs no more than this.
    package init(operation: UInt8, file: Int32 = -1) {
        self.operation = operation
        self.file = file
    }

    /// Where a command's bytes begin in an entry.
    static let commandOffset = 48

    /// Writes all of an entry's memory.
    func write(to memory: UnsafeMutableRawBufferPointer, token: Token) {
        var fields = ringmirror_entry()
        fields.operation = operation
        fields.flags = isRegisteredFile ? ringmirror_entry_fixed_file : 0
        fields.file = file
        fields.offset = offset
        fields.address = address
        fields.length = length
        fields.options = options
        fields.token = token
        unsafe memory.storeBytes(of: fields, as: ringmirror_entry.self)
        let size = MemoryLayout<ringmirror_entry>.size
        guard memory.count > size else { return }
        unsafe UnsafeMutableRawBufferPointer(rebasing: memory[size...])
            .initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Writes the bytes of a command into an entry's memory.
    static func writeCommand(
        _ command: borrowing RawSpan, to memory: UnsafeMutableRawBufferPointer
    ) {
        precondition(
            command.byteCount <= memory.count - commandOffset, "the command is too long")
        let place = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[commandOffset...])
        unsafe command.withUnsafeBytes { unsafe place.copyMemory(from: $0) }
    }
}
