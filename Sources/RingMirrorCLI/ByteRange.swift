import ArgumentParser

/// A range of bytes on the command line: `OFFSET+LENGTH` or `START-END`, the end not included.
struct ByteRange: ExpressibleByArgument {
    let bytes: Range<Int64>

    init?(argument: String) {
        guard let separator = argument.firstIndex(where: { $0 == "+" || $0 == "-" }),
            let first = ByteSize(argument: String(argument[..<separator]))?.bytes,
            let second = ByteSize(
                argument: String(argument[argument.index(after: separator)...]))?.bytes
        else { return nil }
        if argument[separator] == "-" {
            guard first < second else { return nil }
            bytes = first..<second
        } else {
            let (end, overflow) = first.addingReportingOverflow(second)
            guard !overflow else { return nil }
            bytes = first..<end
        }
    }
}
