# The request says what the decision is.
package answers

decision := json.unmarshal(input.attributes.request.http.headers["x-answer"])
