internal import SystemPackage

/// The file of an image that is being made, and that no device stands for yet.
struct DescriptorFile: ImageFile {
    let path: FilePath
    let descriptor: Descriptor

    var isWritable: Bool { true }

    func length() throws(StorageError) -> Int64 {
        try call("statx") { () throws(Errno) in try SystemCalls.status(of: descriptor).size }
    }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        try call("read", offset) { () throws(Errno) in
            try SystemCalls.read(descriptor.raw, at: offset, count: count)
        }
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        try call("write", offset) { () throws(Errno) in
            try SystemCalls.write(descriptor.raw, bytes, at: offset)
        }
    }

    func sync() throws(StorageError) {
        try call("fdatasync") { () throws(Errno) in try SystemCalls.syncData(descriptor) }
    }

    func resize(to length: Int64) throws(StorageError) {
        try call("ftruncate", length) { () throws(Errno) in
            try SystemCalls.truncate(descriptor, to: length)
        }
    }

    private func call<Result>(
        _ name: String, _ offset: Int64? = nil, _ body: () throws(Errno) -> Result
    ) throws(StorageError) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            throw .systemCall(call: name, path: path, code: error, offset: offset)
        }
    }
}
