/// A first-in, first-out queue of small numbers, of fixed capacity.
struct IndexQueue {
    private var elements: [Int]
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) { elements = Array(repeating: 0, count: capacity) }

    var first: Int? { count == 0 ? nil : elements[head] }

    mutating func append(_ element: Int) {
        precondition(count < elements.count)
        elements[(head + count) % elements.count] = element
        count += 1
    }

    /// Puts an element before all others.
    mutating func prepend(_ element: Int) {
        precondition(count < elements.count)
        head = (head + elements.count - 1) % elements.count
        elements[head] = element
        count += 1
    }

    mutating func removeFirst() -> Int {
        precondition(count > 0)
        let element = elements[head]
        head = (head + 1) % elements.count
        count -= 1
        return element
    }
}
