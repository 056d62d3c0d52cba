/// A first-in, first-out queue of indices, of fixed capacity: nothing is allocated after creation.
struct IndexQueue<Index> {
    private var elements: [Index?]
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) { elements = Array(repeating: nil, count: capacity) }

    var isEmpty: Bool { count == 0 }

    var first: Index? { count == 0 ? nil : elements[head] }

    mutating func append(_ element: Index) {
        precondition(count < elements.count, "a queue of fixed size is full")
        elements[(head + count) % elements.count] = element
        count += 1
    }

    /// Puts an element before all others.
    mutating func prepend(_ element: Index) {
        precondition(count < elements.count, "a queue of fixed size is full")
        head = (head + elements.count - 1) % elements.count
        elements[head] = element
        count += 1
    }

    mutating func popFirst() -> Index? {
        guard count > 0 else { return nil }
        defer { head = (head + 1) % elements.count }
        count -= 1
        return elements[head]
    }

    mutating func removeAll() { count = 0 }
}
