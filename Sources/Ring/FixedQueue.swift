/// First in, first out, with room for a number of elements that never changes: nothing is allocated
/// after creation.
struct FixedQueue<Element> {
    private var elements: [Element?]
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) {
        precondition(capacity > 0)
        elements = Array(repeating: nil, count: capacity)
    }

    var isEmpty: Bool { count == 0 }

    /// Precondition: there is room.
    mutating func append(_ element: Element) {
        precondition(count < elements.count, "a queue of fixed size is full")
        elements[(head + count) % elements.count] = element
        count += 1
    }

    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        defer {
            elements[head] = nil
            head = (head + 1) % elements.count
            count -= 1
        }
        return elements[head]
    }

    /// Takes the first element out for which `matches`; the others keep their order.
    /// Complexity: O(count).
    mutating func remove(where matches: (Element) -> Bool) -> Element? {
        var removed: Element?
        for _ in 0..<count {
            guard let element = popFirst() else { break }
            if removed == nil && matches(element) { removed = element } else { append(element) }
        }
        return removed
    }
}
