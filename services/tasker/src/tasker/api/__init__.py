"""What both HTTP APIs share: error bodies, request metrics, the health document, serving."""
