"""GRPO in its simplest form (Shao et al., "DeepSeekMath", 2024), as chapter 11 shows it cell by cell.

A prompt is answered several times; an answer that earned more than the others of its prompt is made likelier.
The loss is a sum over all tokens of answers divided by their number: a mean of means would weigh the tokens
of short answers more.
"""

import torch

from helpers.data.chat import prompt_ids


def advantages(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Rewards (P * G,) of G answers to each prompt, standardised among those; equal rewards give 0."""
    groups = rewards.view(-1, group_size)  # (P, G)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, correction=0, keepdim=True) + 1e-4)).flatten()


def sample(model, tokenizer, prompts: list, group_size: int, new_tokens: int) -> tuple[torch.Tensor, ...]:
    """Draw G answers to each prompt: ids, mask (P * G, L + T), and which of the T are answer (P * G, T)."""
    rows = [torch.tensor(prompt_ids(messages, tokenizer)) for messages in prompts]
    padded = tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(model.device)
    drawing = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    drawing |= {"num_return_sequences": group_size, "max_new_tokens": new_tokens}
    ends_with = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    ids = model.generate(**padded, **drawing, **ends_with)
    asked = padded["attention_mask"].repeat_interleave(group_size, 0)
    answers = ids[:, asked.shape[1] :]
    ends = (answers == tokenizer.eos_token_id).long()
    is_answer = (ends.cumsum(1) - ends) == 0  # all up to the end sign, which is learnt, too
    return ids, torch.cat([asked, is_answer.long()], dim=1), is_answer


def token_log_probabilities(model, ids: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
    """Log-probabilities (B, count) of the last `count` tokens of rows that are padded on the left."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    options = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": count + 1}
    logits = model(input_ids=ids, **options, use_cache=False).logits[:, :-1].float()  # (B, count, V)
    chosen = logits.gather(-1, ids[:, -count:, None])[..., 0]
    return chosen - logits.logsumexp(-1)


def grpo_loss(new, old, reference, advantage, is_answer, *, clip=0.2, beta=0.04) -> torch.Tensor:
    """Loss () of log-probabilities (B, T) under the model, the one that drew, and the one it started as.

    Args:
        advantage: (B,), see `advantages`.
        is_answer: bool (B, T).
        clip: how far the ratio to the model that drew may move a token's gain.
        beta: how much a nat of KL to the reference costs, by the estimate that is never negative.
    """
    ratio, advantage = (new - old).exp(), advantage[:, None]
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    drift = (reference - new).exp() - (reference - new) - 1
    return ((beta * drift - gain) * is_answer).sum() / is_answer.sum()
