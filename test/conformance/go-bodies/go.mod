module svidgate.test/go-bodies

go 1.25
