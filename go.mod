module tokenrelay

go 1.26

// npm packages carry Go files that are none of ours.
ignore ./frontend/node_modules
