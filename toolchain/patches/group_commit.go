package backend

// mutated performs the mutation that has arrived and all that are waiting behind it. It returns them, and whether any
// of them is to be saved: one checkpoint then holds them all, and none is answered before it is written. Upstream
// writes one after the other, each with all that is in the stack.
func mutated(first mutationRequest, waiting <-chan mutationRequest) (requests []mutationRequest, save bool) {
	requests, save = []mutationRequest{first}, first.mutator()
	for {
		select {
		case next := <-waiting:
			requests = append(requests, next)
			save = next.mutator() || save
		default:
			return requests, save
		}
	}
}
